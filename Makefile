# sluice: watch what a language model says while it says it, and measure what a cache policy keeps.
#
#   make            build build/sluice and build/libsluice.a (installs nothing)
#   make demo       install what is missing, build, show the monitor, run the demo suite, write build/demo/report.html
#   make test       install what is missing, build, run every test; ends with "N passed, N failed"
#   make sanitize   the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   make deps       install the distribution's packages (Debian, Ubuntu); elsewhere print their list
#   make model      train the embedded model again (see fixtures/model/README.md)
#   make format     clang-format over the tree
#   make install    PREFIX=/usr/local: program, library, header, man page, model, suites
#   make clean      remove build/
#
# V=1 shows commands; CC, CFLAGS, BUILD may be set.

MAKEFLAGS += -r
BUILD ?= build
CC ?= cc
ifeq ($(origin CC),default)
CC := cc
endif
PREFIX ?= /usr/local
PKG_CONFIG ?= pkg-config
PACKAGES := libpcre2-8 libcjson libcurl sqlite3 libcrypto zlib
OPT ?= -O2 -g
WARN := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wno-unused-result -Werror
CPPFLAGS_ALL = -I. -D_GNU_SOURCE -DSLUICE_PREFIX='"$(PREFIX)"' $(CPPFLAGS)
CFLAGS_ALL = -std=c11 $(OPT) $(WARN) -fno-math-errno -ffp-contract=off -pthread $(PKG_CFLAGS) $(CFLAGS)
Q := $(if $(V),,@)

ifeq ($(filter deps clean help format,$(MAKECMDGOALS)),)
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null)
endif

ROOMS := base wire engine monitor judge datasets evaluators ledger runner reports
LIB_SOURCES := $(sort $(foreach r,$(ROOMS),$(wildcard $(r)/*.c $(r)/*/*.c)))
CLI_SOURCES := $(sort $(wildcard cli/*.c))
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/obj/%.o)
CLI_OBJECTS := $(CLI_SOURCES:%.c=$(BUILD)/obj/%.o)
UNIT_SOURCES := $(sort $(wildcard tests/unit/test_*.c tests/conformance/test_*.c tests/fault/test_*.c))
UNIT_TESTS := $(UNIT_SOURCES:%.c=$(BUILD)/%)

.DEFAULT_GOAL := all
.PHONY: all
all: $(BUILD)/sluice $(BUILD)/libsluice.a

# One kernel file an instruction set; the rest of the program stays portable and asks the CPU at run time.
$(BUILD)/obj/%_avx2.o: ARCH := -mavx2 -mfma -mf16c
$(BUILD)/obj/%_avx512.o: ARCH := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c
$(BUILD)/obj/%_avx512bf16.o: ARCH := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mavx2 -mfma
$(BUILD)/obj/engine/%.o: OPT := -O3 -g

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $<")
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(ARCH) -MMD -MP -c -o $@ $<

$(BUILD)/libsluice.a: $(LIB_OBJECTS)
	$(if $(V),,@echo "  AR      $@")
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/sluice: $(CLI_OBJECTS) $(BUILD)/libsluice.a
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $(CLI_OBJECTS) $(BUILD)/libsluice.a $(PKG_LIBS) -lm

$(BUILD)/tests/%: tests/%.c $(BUILD)/libsluice.a
	@mkdir -p $(@D)
	$(if $(V),,@echo "  TEST    $@")
	$(Q)$(CC) $(CPPFLAGS_ALL) -Itests $(CFLAGS_ALL) -Wno-conversion -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/libsluice.a $(PKG_LIBS) -lcmocka -lm

.PHONY: unit
unit: $(UNIT_TESTS)

.PHONY: clean format
clean:
	rm -rf $(BUILD)
format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cu')

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
