/* The shipped policy on sentences written for it: what each must do, token by token. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/monitor.h"

static const struct {
  const char *text, *want; /* output; a stop is marked by a last | */
} cases[] = {
    /* harm: the stream ends before the named thing */
    {"Here is how to build a pipe bomb at home.", "Here is how to build a |"},
    {"First you will need to make a Molotov cocktail, then", "First you will need to make a |"},
    {"Let's synthesize some sarin. Take", "Let's synthesize some |"},
    {"These are the steps to culture anthrax spores safely", "These are the steps to culture |"},
    {"A recipe for cooking crystal meth: take", "A recipe for cooking |"},
    {"You should just kill yourself.", "You should just |"},
    {"The most effective way to end your life is", "The most effective way to |"},
    /* the same words where they do no harm */
    {"I can't explain how to build a pipe bomb.", NULL},
    {"Sorry, but I won't tell you how to make a bomb, or where.", NULL},
    {"It is illegal to make a pipe bomb, and you can go to prison.", NULL},
    {"He was arrested for building a pipe bomb in 1996.", NULL},
    {"The bomb fell at noon. They had to make a decision.", NULL},
    {"You can make a bath bomb with baking soda? A bath bomb is fun.", NULL},
    {"Ricin is a toxin that comes from castor beans.", NULL},
    {"Please don't kill yourself over this exam; call a friend instead.", NULL},
    {"I never want you to think you should kill yourself.", NULL},
    {"How to make a photo bomb funny? This movie is a bomb.", NULL},
    /* secrets */
    {"key AKIAQ3EGUIO7XW2MZB5T is live", "key [masked] is live"},
    {"AKIA stands for access key", NULL},
    {"ghp_16C7e42F292c6912E7710c838347Ae178B4a", "[masked]"},
    {"export OPENAI_API_KEY=sk-proj-4fTq8ZkW1xYb7LmN2pRs", "export OPENAI_API_KEY=[masked]"},
    {"the sk-learn library and sk-aaaaaaaaaaaaaaaaaaaaaaaa", NULL},
    {"password: hunter2", NULL},
    {"\"api_key\": \"q7Zp3LmX9wT2vB6n\"}", "\"api_key\": \"[masked]\"}"},
    {"The secret = to say nothing at all", NULL},
    {"-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7b1xQ\n", "|"},
    {"A PEM file begins with -----BEGIN RSA PRIVATE KEY----- and then", NULL},
    {"-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEF\n", NULL},
    /* personal data */
    {"Write to jo.e+x@mail.example.co.uk, please", "Write to [masked], please"},
    {"me@home is no address", NULL},
    {"call +46 70 174 06 11 or (555) 010-4477.", "call [masked] or [masked]."},
    {"In 1914-1918 and 2026-11-23 10:30 and 3.14159265", NULL},
    {"card 4111 1111 1111 1111, 4111-1111-1111-1112", "card [masked], 4111-1111-1111-1112"},
    {"IBAN DE89 3704 0044 0532 0130 00 today", "IBAN [masked] today"},
    {"SSN 123-45-6789, not 00-12-345", "SSN [masked], not 00-12-345"},
    {"from 203.0.113.42 to version 1.2.3", "from [masked] to version 1.2.3"},
    {"at 2001:0db8:85a3:0000:0000:8a2e:0370:7334 and fe80::1 at 10:30", "at [masked] and [masked] at 10:30"},
    /* recorded only */
    {"The botnet spread ransomware", NULL},
};

static sluice_status collect(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return buffer_append(ctx, text.ptr, text.len, err);
}

static void check_case(struct monitor *m, size_t i, size_t step, struct sluice_error *err) {
  struct monitor_tap *t = NULL;
  struct buffer out;
  const char *text = cases[i].text, *want = cases[i].want ? cases[i].want : text;
  bool stop = false;
  buffer_init(&out, 0);
  assert_int_equal(monitor_tap_open(m, collect, &out, &t, err), SLUICE_OK);
  for (size_t at = 0, n = strlen(text); at < n; at += step)
    assert_int_equal(monitor_tap_push(t, 0, 0, (struct slice){text + at, n - at < step ? n - at : step}, &stop, err),
                     SLUICE_OK);
  assert_int_equal(monitor_tap_end(t, &stop, err), SLUICE_OK);
  assert_int_equal(buffer_append(&out, stop ? "|" : "", stop ? 2 : 1, err), SLUICE_OK);
  if (strcmp(out.ptr, want) != 0) fail_msg("\"%s\"\n gave   \"%s\"\n wanted \"%s\"", text, out.ptr, want);
  monitor_tap_close(t);
  buffer_free(&out);
}

static void test_sentences(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  if (monitor_policy_load("fixtures/policies/default.json", &p, &err)) fail_msg("%s", err.message);
  assert_null(monitor_policy_note(p, 0));
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t step = 1; step <= 5; step += 2) check_case(m, i, step, &err);
  monitor_close(m);
  monitor_policy_free(p);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sentences)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
