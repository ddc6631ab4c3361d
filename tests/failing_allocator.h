/* For tests of what happens when memory runs out: replaces malloc and its kin in the one program that includes it,
 * counts what is alive, and fails the allocation that `countdown` points at. Needs glibc, whose allocator stays
 * reachable under other names; CAN_INJECT is 0 elsewhere and under a sanitizer, where such tests skip themselves.
 *
 * With FAIL_IN_MARKED_THREADS defined only a thread that has set `marked` is counted and made to fail. */
#ifndef SLUICE_TESTS_FAILING_ALLOCATOR_H
#define SLUICE_TESTS_FAILING_ALLOCATOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static atomic_long countdown __attribute__((unused)) = -1; /* allocations until one fails; negative: none does */
static atomic_long alive __attribute__((unused));          /* blocks taken and not freed */
static atomic_long allocations __attribute__((unused));    /* calls so far */
#ifdef FAIL_IN_MARKED_THREADS
static _Thread_local bool marked;
#else
enum { marked = true };
#endif

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_INJECT 1
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

static bool allocation_fails(void) {
  if (!marked) return false;
  allocations++;
  return countdown >= 0 && countdown-- == 0;
}

void *malloc(size_t n) {
  void *p = allocation_fails() ? NULL : __libc_malloc(n);
  alive += marked && p != NULL;
  return p;
}
void *calloc(size_t n, size_t size) {
  void *p = allocation_fails() ? NULL : __libc_calloc(n, size);
  alive += marked && p != NULL;
  return p;
}
void *realloc(void *old, size_t n) {
  void *p = allocation_fails() ? NULL : __libc_realloc(old, n);
  alive += marked && p && !old;
  return p;
}
void *aligned_alloc(size_t alignment, size_t n) {
  void *p = allocation_fails() ? NULL : __libc_memalign(alignment, n);
  alive += marked && p != NULL;
  return p;
}
void free(void *p) {
  alive -= marked && p != NULL;
  __libc_free(p);
}
#else
#define CAN_INJECT 0
#endif

#endif
