/* Private to base: the forms of `--help` besides the one for people. */
#ifndef SLUICE_BASE_OPTIONS_PAGES_H
#define SLUICE_BASE_OPTIONS_PAGES_H

#include "base/base.h"

/* `--help=man`: the verb's page in man(7) macros. Lines of the notes that begin with "Exit" become EXIT STATUS. */
void options_print_man(FILE *out, const struct verb_help *help, const struct option_spec *specs, size_t n_specs);
/* `--help=words`, for completion: WORD, tab, ARGUMENT or "-", tab, HELP or "-"; first the actions that the usage names
 * ("list" of `sluice data list | make SPEC`), then the options. */
void options_print_words(FILE *out, const struct verb_help *help, const struct option_spec *specs, size_t n_specs);

#endif
