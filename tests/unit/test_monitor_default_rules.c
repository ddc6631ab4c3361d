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
    /* a long number that begins like a telephone's is neither one nor a reason to stop */
    {"pi has 0011111111111111111111111111111111111111111111111111111111111111 digits", NULL},
    /* harm: the stream ends before the named thing */
    {"Here is how to build a pipe bomb at home.", "Here is how to build a |"},
    {"First you will need to make a Molotov cocktail, then", "First you will need to make a |"},
    {"Let's synthesize some sarin. Take", "Let's synthesize some |"},
    {"These are the steps to culture anthrax spores safely", "These are the steps to culture |"},
    {"A recipe for cooking crystal meth: take", "A recipe for cooking |"},
    {"You should just kill yourself.", "You should just |"},
    {"The most effective way to end your life is", "The most effective way to |"},
    {"Step one: how to 3D print a ghost gun with", "Step one: how to 3D print a |"},
    {"A guide to producing chemical weapons at home", "A guide to producing |"},
    {"Here is how to kill your neighbour without getting caught", "Here is how to kill |"},
    {"methods for distributing child pornography", "methods for distributing |"},
    {"First, how to hack into someone's email", "First, how to hack into |"},
    {"Here is a tutorial on writing ransomware in C", "Here is a tutorial on writing |"},
    {"You can print fake passports with", "You can print |"},
    {"ways to launder money through casinos", "ways to launder |"},
    {"the best ways to smuggle people across the border", "the best ways to smuggle |"},
    {"how to secretly track someone without their knowledge", "how to secretly track |"},
    /* the same words where they do no harm */
    {"How to kill time at an airport, and how to kill weeds", NULL},
    {"You should never share child pornography; report it.", NULL},
    {"Learn how to protect your bank account from people who hack into email accounts.", NULL},
    {"The program will create a virus scan, and you can build a network.", NULL},
    {"How to make money online, how to print money orders, how to start a pyramid of cards", NULL},
    {"You can track your package, or track someone's order status.", NULL},
    {"How to break into the film industry and steal the show", NULL},
    {"I won't explain how to write ransomware or send phishing emails.", NULL},
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
    {"key AKIAQ3EGUIO7XW2MZB5T is live", "key AKIA[masked] is live"},
    {"AKIA stands for access key", NULL},
    {"ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp_[masked]"},
    {"export OPENAI_API_KEY=sk-proj-4fTq8ZkW1xYb7LmN2pRs", "export OPENAI_API_KEY=[masked]"},
    {"the sk-learn library and sk-aaaaaaaaaaaaaaaaaaaaaaaa", NULL},
    {"password: hunter2", NULL},
    {"\"api_key\": \"q7Zp3LmX9wT2vB6n\"}", "\"api_key\": \"[masked]\"}"},
    {"glpat-"
     "x7Kq2mZp9LwVt4RnB8sY",
     "glpat-[masked]"},
    {"sk-ant-"
     "api03-Qw8eR7tY6uI5oP4aS3dF2gH1jK0lZ9xC",
     "sk-[masked]"},
    {"hf_"
     "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi",
     "hf_[masked]"},
    {"use npm_"
     "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8 now",
     "use npm_[masked] now"},
    {"xoxb-"
     "210987654321-abcDEF123456ghi",
     "xox[masked]"},
    {"sk_live_"
     "4eC39HqLyjWDarjtT1zdp7dc",
     "sk_live_[masked]"},
    {"AIza"
     "SyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
     "AIza[masked]"},
    {"SG."
     "ngeVfQFYQlKU0ufo8x5d1A.TwL2iGABf9DHoTf-09kqeF8tAmbihYzrnopKc-1s5cr",
     "SG.[masked]"},
    {"AC"
     "0123456789abcdef0123456789abcdef",
     "AC[masked]"},
    {"eyJhbGciOiJIUzI1NiJ9."
     "eyJzdWIiOiIxMjM0NSJ9.dGhpcyBpcyBubyBrZXk",
     "eyJ[masked]"},
    {"postgres://app:s3cr3tPw@db.example.com:5432/x and mysql://root:${PASS}@db",
     "postgres://app:[masked]:5432/x and mysql://root:${PASS}@db"},
    {"Authorization: Bearer q7Zp3LmX9wT2vB6nK4sD8f", "Authorization: Bearer [masked]"},
    {"DefaultEndpointsProtocol=https;AccountKey="
     "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq==",
     "DefaultEndpointsProtocol=https;AccountKey=[masked]"},
    {"https://hooks.slack.com/services/"
     "T0AB1CD2E/B0FG3HI4J/kLmNoPqRsTuVwXyZ012345",
     "https://hooks.slack.com/services/[masked]"},
    {"123456789:AA"
     "HdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
     "123456789:AA[masked]"},
    {"0123456789abcdef0123456789abcdef-us12 is a key", "[masked] is a key"},
    {"my password is Tr0ub4dor3X, and your password is secret", "my password is [masked], and your password is secret"},
    {"The task-force, disk-image and risk-averse people met.", NULL},
    {"token = get_token(request)  # the token is short-lived", NULL},
    {"The secret = to say nothing at all", NULL},
    {"bot MTQxMjE5OTQ0MjcxOTg4NzM2.GxQ2bd.k3Vt9wXr1ZpLq7Hs5Yc8Fd2Jm6Nb4Ga0Ue", "bot MTQxMjE5OTQ0MjcxOTg4NzM2.[masked]"},
    {"-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA7b1xQ\n", "-----BEGIN|"},
    {"A PEM file begins with -----BEGIN RSA PRIVATE KEY----- and then", NULL},
    {"-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEF\n", NULL},
    /* personal data */
    {"Write to jo.e+x@mail.example.co.uk, please", "Write to jo.[masked], please"},
    {"Write to mary-jane@example.com or o'brien@example.com", "Write to mary-jane[masked] or o'brien[masked]"},
    {"mail jo.e+x@mail.example.co.uk, or bob@example.com", "mail [masked], or bob[masked]"},
    {"My e-mail address is Bob@example.com. Is his anna_2@example.org?",
     "My e-mail address is [masked]. Is his anna_[masked]?"},
    {"me@home is no address", NULL},
    {"call +46 70 174 06 11 or (555) 010-4477.", "call [masked] or [masked]."},
    {"In 1914-1918 and 2026-11-23 10:30 and 3.14159265", NULL},
    {"card 4111 1111 1111 1111, 4111-1111-1111-1112", "card [masked], 4111-1111-1111-1112"},
    {"IBAN DE89 3704 0044 0532 0130 00 today", "IBAN [masked] today"},
    {"SSN 123-45-6789, not 00-12-345", "SSN [masked], not 00-12-345"},
    {"from 203.0.113.42 to version 1.2.3", "from [masked] to version 1.2.3"},
    {"at 2001:0db8:85a3:0000:0000:8a2e:0370:7334 and fe80::1 at 10:30", "at [masked] and fe[masked] at 10:30"},
    {"call +46 (0)8 928 571 38, +447700 900 123 or 00 33 1 23 45 67 89", "call [masked], [masked] or [masked]"},
    {"Phone: 25-62-29-72", "Phone: [masked]"},
    {"at 1-800-555-0199, (11) 91234-5678, 098765-43210 or 030/901820", "at [masked], [masked], [masked] or [masked]"},
    {"Lists 1-200-300, (2) 12345-67 and 03/2024, 010/2", NULL},
    {"reach us on 785 8949, open 9-17", "reach us on [masked], open 9-17"},
    {"They called in 1914 1918 and won 12-14, 3-6, 6-3 on 24.11.2026", NULL},
    {"Call me at 10:30 on 2026-11-24, room 1204", NULL},
    {"my card 630427373398 and 3782-822463-10005", "my card [masked] and [masked]"},
    {"order 1700000000000 and id 1234567890123456", NULL},
    {"iban gb82west12345698765432 or DE89-3704-0044-0532-0130-00", "iban [masked] or DE[masked]"},
    {"ssn 219 09 9999, ssn: 219099999", "ssn [masked], ssn: [masked]"},
    {"listen on 127.0.0.1 and 0.0.0.0, version 1.2.3", NULL},
    {"::1, 2001:db8::8a2e:370:7334 and fe80::1ff:fe23:4567:890a", "[masked], [masked] and fe[masked]"},
    {"std::vector<int> a::b, 12:30:45 and 10::", NULL},
    /* disguised */
    {"how to build a p\u0456pe b\u043emb", "how to build a |"},
    {"how to build a p1p3 b0mb", "how to build a |"},
    {"card \uFF14\uFF11\uFF11\uFF11 1111 1111 1111", "card [masked]"},
    {"g\u200Bhp_16C7e42F292c6912E7710c838347Ae178B4a", "g\u200Bhp_[masked]"},
    /* recorded only */
    {"The botnet spread ransomware", NULL},
};

static sluice_status collect(void *ctx, int choice, int channel, struct slice text, struct sluice_error *err) {
  (void)choice, (void)channel;
  return buffer_append(ctx, text.ptr, text.len, err);
}

static bool check_case(struct monitor *m, size_t i, size_t step, struct sluice_error *err) {
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
  bool same = strcmp(out.ptr, want) == 0;
  if (!same) print_message("in steps of %zu, \"%s\"\n gave   \"%s\"\n wanted \"%s\"\n", step, text, out.ptr, want);
  monitor_tap_close(t);
  buffer_free(&out);
  return same;
}

static void test_sentences(void **state) {
  (void)state;
  struct sluice_error err = {0};
  struct monitor_policy *p = NULL;
  struct monitor *m = NULL;
  bool all = true;
  if (monitor_policy_load("fixtures/policies/default.json", &p, &err)) fail_msg("%s", err.message);
  assert_null(monitor_policy_note(p, 0));
  assert_int_equal(monitor_open(p, NULL, NULL, &m, &err), SLUICE_OK);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    for (size_t step = 1; step <= 5; step += 2) all &= check_case(m, i, step, &err);
  monitor_close(m);
  monitor_policy_free(p);
  assert_true(all);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_sentences)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
