/* sluice version: what this program is and what it is made of. */
#include "cli/verbs.h"

#include "cli/build_facts.h"
#include "engine/engine.h"
#include "monitor/monitor.h"

#include <stdlib.h>

static const struct verb_help help = {.verb = "version",
                                      .summary = "print the version, and what this program is made of",
                                      .usage = "sluice version [--json]",
                                      .examples = "  sluice version\n"
                                                  "  sluice version --json | jq -r .commit\n"};

static void print_text(const char *cuda, bool cuda_there) {
  struct library_fact libraries[LIBRARY_FACTS];
  build_libraries(libraries);
  printf("sluice %s\n", SLUICE_VERSION);
  printf("built      %s%s%s\n", build_compiler(), *build_commit() ? ", commit " : "", build_commit());
  printf("libraries ");
  for (int i = 0; i < LIBRARY_FACTS; i++)
    printf(" %s %s%s%s", libraries[i].name, libraries[i].running, i == 0 && build_pcre2_jit() ? " (JIT)" : "",
           i + 1 < LIBRARY_FACTS ? "," : "\n");
  const char *fold = monitor_fold_source();
  printf("fold table %s\n", *fold ? fold : "not folded: built without ICU");
  char what[160];
  bool there = monitor_prefilter_there(what, sizeof what);
  printf("long texts %s%s\n", there ? "" : "no Hyperscan: ", what);
  if (cuda_there)
    printf("CUDA       %s\n", cuda);
  else
    printf("CUDA       not built (no %s): training runs on the CPU\n", cuda);
}

static sluice_status print_json(const char *cuda, bool cuda_there, struct sluice_error *err) {
  struct library_fact libraries[LIBRARY_FACTS];
  struct buffer out;
  char what[160];
  bool there = monitor_prefilter_there(what, sizeof what);
  build_libraries(libraries);
  buffer_init(&out, 1 << 16);
  sluice_status st =
      buffer_printf(&out, err, "{\"version\":\"%s\",\"compiler\":\"%s\",\"commit\":", SLUICE_VERSION, build_compiler());
  if (!st)
    st = *build_commit() ? buffer_printf(&out, err, "\"%s\"", build_commit()) : buffer_append_str(&out, "null", err);
  if (!st) st = buffer_append_str(&out, ",\"libraries\":{", err);
  for (int i = 0; i < LIBRARY_FACTS && !st; i++)
    st = buffer_printf(&out, err, "%s\"%s\":{\"built\":\"%s\",\"running\":\"%s\"}", i ? "," : "", libraries[i].name,
                       libraries[i].built, libraries[i].running);
  if (!st)
    st = buffer_printf(&out, err,
                       "},\"pcre2_jit\":%s,\"fold_table\":\"%s\",\"long_texts\":%s%s%s,\"cuda\":%s,\"cuda_library\":",
                       build_pcre2_jit() ? "true" : "false", monitor_fold_source(), there ? "\"" : "",
                       there ? what : "null", there ? "\"" : "", cuda_there ? "true" : "false");
  if (!st) st = json_quote(&out, cuda, slice_of(cuda).len, err);
  if (!st) st = buffer_append_str(&out, "}\n", err);
  if (!st) fwrite(out.ptr, 1, out.len, stdout);
  buffer_free(&out);
  return st;
}

int verb_version(int argc, char **argv) {
  bool json = false, helped = false;
  const struct option_spec options[] = {{"json", 0, OPTION_FLAG, &json, NULL, "one JSON object on stdout"}};
  struct string_list words = {0};
  struct sluice_error err;
  sluice_status st = options_parse(&help, options, 1, argc, argv, &words, &helped, &err);
  if (!st && !helped && words.n) st = sluice_fail(&err, SLUICE_USAGE, "expected %s", help.usage);
  char *cuda = !st && !helped ? cuda_library() : NULL;
  if (!st && !helped && !cuda) st = sluice_fail(&err, SLUICE_NOMEM, "out of memory");
  if (cuda && json) st = print_json(cuda, file_exists(cuda), &err);
  if (cuda && !json) print_text(cuda, file_exists(cuda));
  if (st) log_line(LOG_ERROR, "version: %s", err.message);
  free(words.items);
  free(cuda);
  return st ? sluice_exit_code(st) : 0;
}
