# sluice: watch what a language model says while it says it, and measure what a cache policy keeps.
#
#   make            build build/sluice and libsluice.so.0, libsluice.a (installs nothing)
#   make demo       install what is missing, build, show the monitor, run the demo suite, write build/demo/report.html
#   make test       install what is missing, build, run every test; ends with "N passed, N failed"
#   make test-sdk   the official npm clients, curl and a browser through the proxy (a part of make test)
#   make sanitize   the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
#   make tsan       what runs in several threads, the servers too, under ThreadSanitizer
#   make unit       build the test programs; tests/run.sh WORD... then runs some of them
#   make fuzz       every fuzz target for FUZZ_SECONDS=10 each (clang); FUZZ=WORD: those whose name holds it
#   make bench      engine and monitor speed on this machine, the embedded model, the shipped policy
#   make bench-proxy   the proxy beside HAProxy and nginx (those that are installed): events a second, latency, processor time
#   make soak   mixed traffic with every fault through the proxy for SECONDS=3600: a tally, memory and descriptors over time
#   make bench-engine   decode and prefill of a 0.5B model on the CPU, beside memory's limit and PEERS; the GPU's table
#   make deps       install the distribution's packages (Debian, Ubuntu); elsewhere print their list
#   make model      train the embedded model again (see fixtures/model/README.md)
#   make check-style   the rules of CONTRIBUTING.md that a script can check
#   make format     clang-format over the tree
#   make man        the manual pages, into build/man
#   make install    PREFIX=/usr/local, DESTDIR: program, library and sluice.h, man pages, model, suites; make uninstall
#   make clean      remove build/
#
# V=1 shows commands. CC, CFLAGS, LDFLAGS, BUILD (the folder to build in), JOBS, NVCC may be set; CUDA=0 builds without
# CUDA even where nvcc is found.

MAKEFLAGS += -r --no-print-directory
SHELL := /bin/sh
BUILD ?= build
CC ?= cc
ifeq ($(origin CC),default)
CC := cc
endif
PREFIX ?= /usr/local
PKG_CONFIG ?= pkg-config
PACKAGES := libpcre2-8 libcjson libcurl libevent_core libevent_openssl libssl sqlite3 libcrypto zlib icu-uc
# What libsluice is linked with: the others are the wire's and the ledger's.
API_PACKAGES = $(filter-out libcurl libevent% sqlite3 zlib libssl icu-uc,$(PACKAGES))
OBJCOPY ?= objcopy
OPT ?= -O2 -g
# Warnings are errors with the compiler that we test with; a newer one's new warnings must not stop a user's build.
# WERROR=-Werror forces it.
WERROR ?= $(if $(filter 12,$(firstword $(subst ., ,$(shell $(CC) -dumpversion 2>/dev/null)))),-Werror)
WARN := -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wno-unused-result $(WERROR)
CPPFLAGS_ALL = -I. -D_GNU_SOURCE -DSLUICE_PREFIX='"$(PREFIX)"' $(CPPFLAGS)
CFLAGS_ALL = -std=c11 $(OPT) $(WARN) -fno-math-errno -ffp-contract=off -pthread $(PKG_CFLAGS) $(CFLAGS)
Q := $(if $(V),,@)

# These goals build through a second make, after packages were installed: only that one asks pkg-config.
STAGED := deps deps-build data test test-sdk demo sanitize model fuzz fuzz-programs tsan
ifneq ($(filter-out $(STAGED) uninstall clean help format check-style,$(or $(MAKECMDGOALS),all)),)
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PACKAGES) 2>/dev/null)
endif

# CUDA is optional: where nvcc and cuBLAS are found, engine/cuda/*.cu become libsluice-cuda.so beside the program, which loads
# it when a GPU is asked for. So the program itself never waits for CUDA's libraries (0.3 s and 220 MB when it was linked to
# them). Toolkits differ in where their libraries lie, and some machines have the compiler alone: what cannot be linked is
# left out, and `make` says so. Goals that build nothing here do not ask.
NVCC ?= $(firstword $(shell command -v nvcc 2>/dev/null) $(wildcard /usr/local/cuda/bin/nvcc))
NVCC_FLAGS ?= -O3 -std=c++17 -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]
ifneq ($(filter-out $(STAGED) uninstall clean help format check-style,$(or $(MAKECMDGOALS),all)),)
CUDA_LIBS := $(if $(filter 0,$(CUDA)),,$(if $(NVCC),$(shell CC='$(CC)' NVCC='$(NVCC)' .ci/cuda.sh)))
endif
CUDA_SOURCES := $(if $(CUDA_LIBS),$(sort $(wildcard engine/cuda/*.cu)))
CUDA_OBJECTS := $(CUDA_SOURCES:%.cu=$(BUILD)/obj/%.cu.o)
ifneq ($(CUDA_SOURCES),)
CUDA_PLUGIN := $(BUILD)/libsluice-cuda.so
CUDA_OBJECTS += $(patsubst %,$(BUILD)/pic/%.o,base/arena base/status base/utf8 base/signal engine/train/optimizer \
  engine/cpu/rope engine/model/dtype engine/model/dtype_blocks)
endif
# Hyperscan (Vectorscan elsewhere has the same interface) looks through long texts. Its header is needed here; the program
# loads libhs.so.5 when the first long text has come, and does without where it is not there. libsluice never does.
# HYPERSCAN=0 builds without.
ifneq ($(filter-out $(STAGED) uninstall clean help format check-style,$(or $(MAKECMDGOALS),all)),)
HYPERSCAN_FLAGS := $(if $(filter 0,$(HYPERSCAN)),,$(shell $(PKG_CONFIG) --exists libhs 2>/dev/null && echo -DSLUICE_HYPERSCAN))
endif
$(BUILD)/hyperscan: always
	@mkdir -p $(@D)
	@echo '$(HYPERSCAN_FLAGS)' | cmp -s - $@ || echo '$(HYPERSCAN_FLAGS)' >$@
$(BUILD)/obj/monitor/prefilter.o: $(BUILD)/hyperscan
$(BUILD)/obj/monitor/prefilter.o: CPPFLAGS += $(HYPERSCAN_FLAGS)
# The bench holds the pattern layer against it, too.
BESIDE_HYPERSCAN := $(BUILD)/tests/bench/bench_monitor $(BUILD)/tests/bench/bench_texts $(BUILD)/tests/bench/bench_streams
ifneq ($(filter bench $(BESIDE_HYPERSCAN),$(MAKECMDGOALS)),)
HYPERSCAN_LIBS := $(shell $(PKG_CONFIG) --libs libhs 2>/dev/null)
endif
$(BESIDE_HYPERSCAN): CPPFLAGS += $(if $(HYPERSCAN_LIBS),-DSLUICE_HYPERSCAN)
$(BESIDE_HYPERSCAN): LIBS += $(HYPERSCAN_LIBS)
LIBS = $(PKG_LIBS) -ldl -lm

ROOMS := base wire engine monitor judge datasets evaluators ledger runner reports sluice
LIB_SOURCES := $(sort $(filter-out monitor/tools/%,$(foreach r,$(ROOMS),$(wildcard $(r)/*.c $(r)/*/*.c))))
CLI_SOURCES := $(sort $(wildcard cli/*.c))
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/obj/%.o)
CLI_OBJECTS := $(CLI_SOURCES:%.c=$(BUILD)/obj/%.o)
# libsluice.so.0: its number changes when a program that was linked against it would break; SLUICE_API_VERSION counts additions.
SONAME := libsluice.so.0
API_SYMBOLS := sluice/libsluice.map
API_SOURCES := $(filter-out monitor/audit.c,$(filter base/% monitor/% sluice/%,$(LIB_SOURCES)))
API_OBJECTS := $(API_SOURCES:%.c=$(BUILD)/pic/%.o)

# What looks like what (monitor/fold_table.h) is asked of ICU here, once; the program does not need ICU to run. Without it
# nothing is folded, and `sluice version` says so.
ICU := $(shell $(PKG_CONFIG) --exists icu-uc icu-i18n 2>/dev/null && echo yes)
FOLD_DATA := $(BUILD)/obj/fold_data.o
LIB_OBJECTS += $(FOLD_DATA)
API_OBJECTS += $(BUILD)/pic/fold_data.o
UNIT_SOURCES := $(sort $(wildcard tests/unit/test_*.c tests/conformance/test_*.c tests/fault/test_*.c))
ifeq ($(ICU),)
UNIT_SOURCES := $(filter-out tests/unit/test_monitor_fold_table.c,$(UNIT_SOURCES))
endif
UNIT_TESTS := $(UNIT_SOURCES:%.c=$(BUILD)/%)
# Programs that integration scripts call; a script builds a missing one itself, so that it can run alone.
TEST_TOOLS := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/integration/*.c tests/parity/*.c)))

.DEFAULT_GOAL := all
.PHONY: all
all: $(BUILD)/sluice $(BUILD)/$(SONAME) $(BUILD)/libsluice.a $(CUDA_PLUGIN)

# Other flags than last time make everything anew. Expanded here, before any target changes OPT or ARCH for itself.
FLAGS_NOW := $(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(LDFLAGS) $(CUDA_OBJECTS)
FLAGS_NOW := $(subst ','\'',$(FLAGS_NOW))
.PHONY: always
$(BUILD)/flags: always
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS_NOW)' | cmp -s - $@ || printf '%s\n' '$(FLAGS_NOW)' >$@

# The commit stands in one object. Without it (an archive) the program says nothing of it; no date and no path enters.
COMMIT := $(if $(wildcard .git),$(shell git --no-optional-locks describe --always --dirty --exclude='*' 2>/dev/null))
$(BUILD)/commit: always
	@mkdir -p $(@D)
	@echo '$(COMMIT)' | cmp -s - $@ || echo '$(COMMIT)' >$@
$(BUILD)/obj/cli/build_facts.o: $(BUILD)/commit
$(BUILD)/obj/cli/build_facts.o: CPPFLAGS += -DSLUICE_COMMIT='"$(COMMIT)"'

# One kernel file an instruction set; the rest of the program stays portable and asks the CPU at run time. Fuzz targets have these files
# without sanitizers (VECTOR_CFLAGS): clang would take minutes for each, and no input reaches them but through the portable files.
ifeq ($(shell $(CC) -dumpmachine | cut -d- -f1),x86_64)
$(BUILD)/obj/%_avx2.o: ARCH := -mavx2 -mfma -mf16c $(VECTOR_CFLAGS)
$(BUILD)/obj/%_avx512.o: ARCH := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma -mf16c $(VECTOR_CFLAGS)
$(BUILD)/obj/%_avx512vnni.o: ARCH := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx2 -mfma -mf16c $(VECTOR_CFLAGS)
$(BUILD)/obj/%_avx512bf16.o: ARCH := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512bf16 -mavx2 -mfma $(VECTOR_CFLAGS)
endif
$(BUILD)/obj/engine/%.o: OPT := -O3 -g

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  CC      $<")
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $(ARCH) -MMD -MP -c -o $@ $<

ifneq ($(ICU),)
$(BUILD)/make_fold_table: monitor/tools/make_fold_table.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) -std=c11 -O2 $(WARN) -Wno-conversion -Wno-sign-conversion -o $@ $< $$($(PKG_CONFIG) --cflags --libs icu-i18n icu-uc)
$(BUILD)/fold_data.c: $(BUILD)/make_fold_table
	$(if $(V),,@echo "  MAKE    $@")
	$(Q)$< >$@.new && mv $@.new $@
else
$(BUILD)/fold_data.c: monitor/tools/no_fold_table.c
	$(Q)cp $< $@
endif
$(FOLD_DATA): $(BUILD)/fold_data.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
$(BUILD)/pic/fold_data.o: $(BUILD)/fold_data.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -fPIC -fvisibility=hidden -ffunction-sections -MMD -MP -c -o $@ $<

$(BUILD)/obj/%.cu.o: %.cu $(BUILD)/flags
	@mkdir -p $(@D)
	$(if $(V),,@echo "  NVCC    $<")
	$(Q)$(NVCC) -ccbin $(CC) $(NVCC_FLAGS) -Xcompiler -fPIC -I. -MMD -MF $(@:.o=.d) -c -o $@ $<

$(BUILD)/pic/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -fPIC -fvisibility=hidden -ffunction-sections -MMD -MP -c -o $@ $<

$(BUILD)/libsluice-cuda.so: $(CUDA_OBJECTS)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) -shared -o $@ $^ $(CUDA_LIBS) -lm

# All rooms, for the program and the tests. It is not installed.
$(BUILD)/rooms.a: $(LIB_OBJECTS)
	$(if $(V),,@echo "  AR      $@")
	$(Q)rm -f $@ && ar rcs $@ $^

# libsluice, the C API of sluice/sluice.h: the monitor without audit, and what it needs of base. Both forms show the symbols
# of the version script and no others, so that nothing collides with a program's own names. --gc-sections and --as-needed
# leave out what the API never calls.
$(BUILD)/$(SONAME): $(API_OBJECTS) $(API_SYMBOLS)
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--version-script,$(API_SYMBOLS) -Wl,--gc-sections \
	  -Wl,--as-needed -Wl,-z,now -o $@ $(API_OBJECTS) $(LIBS)

$(BUILD)/libsluice.a: $(API_OBJECTS) $(API_SYMBOLS)
	$(if $(V),,@echo "  AR      $@")
	$(Q)sed -n 's/^ *\(sluice_[a-z_]*\);$$/\1/p' $(API_SYMBOLS) >$(BUILD)/symbols
	$(Q)$(LD) -r -o $(BUILD)/libsluice.o $(API_OBJECTS) && $(OBJCOPY) --keep-global-symbols=$(BUILD)/symbols $(BUILD)/libsluice.o
	$(Q)rm -f $@ && ar rcs $@ $(BUILD)/libsluice.o && rm -f $(BUILD)/libsluice.o $(BUILD)/symbols

$(BUILD)/sluice: $(CLI_OBJECTS) $(BUILD)/rooms.a
	$(if $(V),,@echo "  LINK    $@")
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) -o $@ $(CLI_OBJECTS) $(BUILD)/rooms.a $(LIBS)

$(BUILD)/tests/%: tests/%.c $(BUILD)/rooms.a
	@mkdir -p $(@D)
	$(if $(V),,@echo "  TEST    $@")
	$(Q)$(CC) $(CPPFLAGS_ALL) -Itests $(CFLAGS_ALL) -Wno-conversion -MMD -MP $(LDFLAGS) -o $@ $< $(BUILD)/rooms.a \
	  $(LIBS) -lcmocka

# Fuzz targets, each a program that runs its corpus and variations of it; with FUZZ_MAIN=-fsanitize=fuzzer, libFuzzer's.
FUZZ_MAIN ?= tests/fuzz/driver.c
FUZZ_TARGETS := $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
$(BUILD)/tests/fuzz/%: tests/fuzz/%.c tests/fuzz/driver.c $(BUILD)/rooms.a
	@mkdir -p $(@D)
	$(if $(V),,@echo "  FUZZ    $@")
	$(Q)$(CC) $(CPPFLAGS_ALL) $(CFLAGS_ALL) -Wno-conversion -MMD -MP -MF $@.d $(LDFLAGS) -o $@ $< $(FUZZ_MAIN) $(BUILD)/rooms.a $(LIBS)

$(BUILD)/tests/unit/test_monitor_fold_table: LIBS += $(shell $(PKG_CONFIG) --libs icu-i18n icu-uc 2>/dev/null)

.PHONY: unit fuzz-targets
unit: $(UNIT_TESTS) $(TEST_TOOLS) fuzz-targets
fuzz-targets: $(FUZZ_TARGETS)

# Figures, never tests: they depend on the machine and on what else it does.
.PHONY: bench
bench: $(BUILD)/sluice $(BUILD)/tests/bench/bench_engine $(BESIDE_HYPERSCAN)
	$(BUILD)/tests/bench/bench_engine fixtures/model 900 1
	$(BUILD)/tests/bench/bench_engine fixtures/model 1000000 1 best streaming:budget=256
	$(BUILD)/tests/bench/bench_monitor
	$(BUILD)/tests/bench/bench_monitor --rules $${SLUICE_DATA:-build/data}/rules
	$(BUILD)/tests/bench/bench_texts
	$(BUILD)/tests/bench/bench_streams --alone
	$(BUILD)/tests/bench/bench_streams --hostile --kb 1024

SECONDS ?= 3600
.PHONY: soak
soak: $(BUILD)/sluice $(BUILD)/tests/integration/soak_proxy
	SOAK_SECONDS=$(SECONDS) BUILD='$(BUILD)' tests/integration/soak_proxy.sh

.PHONY: bench-proxy
bench-proxy: $(BUILD)/sluice $(BUILD)/tests/bench/bench_proxy
	@if [ -f build/data/rules/gitleaks.toml ]; then \
	  $(BUILD)/sluice policy import build/data/rules/gitleaks.toml --out $(BUILD)/gitleaks.json 2>/dev/null; fi
	$(BUILD)/tests/bench/bench_proxy $(BENCH_PROXY) $(BUILD)/sluice plain=plain default= \
	  $$(if [ -f $(BUILD)/gitleaks.json ]; then echo gitleaks=$(BUILD)/gitleaks.json; fi)
	$(BUILD)/tests/bench/bench_proxy streams=5000 hz=0.5 seconds=4 rounds=1 flood=0 $(BUILD)/sluice plain=plain default=

# Whole models of Qwen2.5-0.5B's shape (BENCH_SHAPE=llama3.2-1b: of that) with random weights. PEERS="llama.cpp=/path/to/llama-bench NAME=..." puts other
# engines beside; BENCH_KERNEL=avx2 makes ours use that kernel. Needs a quiet machine. Where there is a GPU its table follows; GPU_PEERS, likewise, are
# measured there on F16 files of BENCH_GPU_SHAPES (llama2-7b is 13 GB; tests/bench/torch_bench.py is one of them, where PyTorch is there).
BENCH_TYPES ?= F16 Q8_0 Q4_0
BENCH_SHAPE ?= qwen2.5-0.5b
BENCH_ROUNDS ?= 5
BENCH_FILES := $(BENCH_TYPES:%=$(BUILD)/bench/$(BENCH_SHAPE)-%.gguf)
BENCH_GPU_SHAPES ?= qwen2.5-0.5b llama3.2-1b llama2-7b
BENCH_GPU_FILES := $(if $(GPU_PEERS),$(BENCH_GPU_SHAPES:%=$(BUILD)/bench/%-F16.gguf))
.PHONY: bench-engine
bench-engine: $(BUILD)/tests/bench/bench_weights $(BUILD)/tests/bench/bench_cuda $(CUDA_PLUGIN) $(BENCH_FILES) $(BENCH_GPU_FILES)
	$< -r $(BENCH_ROUNDS) $(BENCH_KERNEL:%=-k %) $(PEERS:%=-p %) $(BENCH_FILES)
	$(BUILD)/tests/bench/bench_cuda -d $(BUILD)/bench $(GPU_PEERS:%=-p %)
$(sort $(BENCH_FILES) $(BENCH_GPU_FILES)): $(BUILD)/tests/bench/make_gguf
	@mkdir -p $(@D)
	$(Q)$< $@ $(lastword $(subst -, ,$(basename $(@F)))) $(patsubst %-$(lastword $(subst -, ,$(basename $(@F)))),%,$(basename $(@F)))

# ---- goals that install packages first ----
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
STAGE = $(MAKE) $(if $(filter -j%,$(MAKEFLAGS)),,-j$(JOBS))
# Published data sets that some tests read. Where this folder is not there, those tests say so and are skipped.
DATA_UNPACK ?= ../shared/data/unpack

.PHONY: deps deps-build test demo sanitize fuzz model data
deps:
	@CC='$(CC)' PKG_CONFIG='$(PKG_CONFIG)' .ci/deps.sh --test
deps-build:
	@CC='$(CC)' PKG_CONFIG='$(PKG_CONFIG)' .ci/deps.sh

data:
	@if [ -z "$$SLUICE_DATA" ] && [ -x $(DATA_UNPACK) ]; then $(DATA_UNPACK) build/data; fi

test: deps data
	@$(STAGE) all unit
	@BUILD='$(BUILD)' tests/run.sh

# The official clients, curl and a browser through the proxy (a part of `make test`). Needs node 20 and npm.
.PHONY: test-sdk
test-sdk: deps
	@$(STAGE) all
	@BUILD='$(BUILD)' tests/run.sh integration/sdk

SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# Without warnings: the plain build has judged them, and the sanitizers' own code raises false ones.
sanitize: deps data
	@$(STAGE) BUILD=build/sanitize CUDA=0 OPT='-O1 -g' CFLAGS='$(CFLAGS) $(SANITIZE) -w' all unit
	@BUILD=build/sanitize TEST_TIMEOUT=$${TEST_TIMEOUT:-900} tests/run.sh --unit

# Programs whose work is split over threads. setarch -R: ThreadSanitizer wants addresses that newer kernels scatter.
TSAN_TESTS := unit/test_sluice unit/test_base_threads unit/test_engine_session
TSAN_TOOLS := $(wildcard tests/integration/*proxy*.c tests/integration/serve_client.c)
.PHONY: tsan
tsan: deps data
	@$(STAGE) BUILD=build/tsan CUDA=0 OPT='-O1 -g' CFLAGS='$(CFLAGS) -fsanitize=thread -w' build/tsan/sluice $(TSAN_TESTS:%=build/tsan/tests/%) $(TSAN_TOOLS:%.c=build/tsan/%)
	@BUILD=build/tsan TEST_TIMEOUT=$${TEST_TIMEOUT:-900} TSAN_OPTIONS=halt_on_error=1 setarch -R tests/run.sh --unit $(TSAN_TESTS)
	@BUILD=build/tsan TEST_TIMEOUT=$${TEST_TIMEOUT:-900} TSAN_OPTIONS=halt_on_error=1 setarch -R tests/run.sh \
	  integration/proxy integration/soak integration/serve

# libFuzzer needs clang. What it finds new is kept in build/fuzz/found, what breaks a promise in build/fuzz/broken.
FUZZ_SECONDS ?= 10
FUZZ_CC ?= clang
.PHONY: fuzz-programs
fuzz-programs:
	@$(STAGE) BUILD=build/fuzz CC=$(FUZZ_CC) CUDA=0 OPT='-O1 -gline-tables-only' FUZZ_MAIN='-fsanitize=fuzzer' \
	  CFLAGS='$(CFLAGS) $(SANITIZE) -fsanitize=fuzzer-no-link -w' VECTOR_CFLAGS=-fno-sanitize=all fuzz-targets
fuzz:
	@CC='$(CC)' PKG_CONFIG='$(PKG_CONFIG)' .ci/deps.sh --fuzz
	@$(MAKE) fuzz-programs
	@BUILD=build/fuzz tests/fuzz/run.sh $(FUZZ_SECONDS) $(FUZZ)

demo: deps-build
	@$(STAGE) all
	@BUILD='$(BUILD)' sh fixtures/demo.sh

model: deps-build
	@$(STAGE) all
	@BUILD='$(BUILD)' sh fixtures/model/make.sh

# A page for each verb, from its option table; docs/sluice.1 is the page of the whole.
.PHONY: man
man: $(BUILD)/man/sluice.1
$(BUILD)/man/sluice.1: $(BUILD)/sluice docs/sluice.1 docs/make_man.sh
	$(if $(V),,@echo "  MAN     $(@D)")
	$(Q)sh docs/make_man.sh $(BUILD)/sluice $(@D)

# ---- install ----
DESTDIR ?=
.PHONY: install uninstall
install: all man
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 755 $(BUILD)/sluice $(DESTDIR)$(PREFIX)/bin/sluice
	install -m 755 $(BUILD)/$(SONAME) $(DESTDIR)$(PREFIX)/lib/$(SONAME)
	ln -sf $(SONAME) $(DESTDIR)$(PREFIX)/lib/libsluice.so
	install -m 644 $(BUILD)/libsluice.a $(DESTDIR)$(PREFIX)/lib/libsluice.a
	$(if $(CUDA_PLUGIN),install -D -m 755 $(CUDA_PLUGIN) $(DESTDIR)$(PREFIX)/lib/sluice/libsluice-cuda.so)
	install -D -m 644 sluice/sluice.h $(DESTDIR)$(PREFIX)/include/sluice.h
	install -m 644 $(BUILD)/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1/
	cd fixtures && find . -type f ! -name '*.sh' -exec install -D -m 644 {} $(abspath $(DESTDIR)$(PREFIX))/share/sluice/{} \;
	printf '%s\n' 'prefix=$(PREFIX)' 'Name: sluice' 'Description: a monitor for streams of language-model text' \
	  'Version: $(VERSION)' 'Requires.private: $(API_PACKAGES)' 'Cflags: -I$${prefix}/include' \
	  'Libs: -L$${prefix}/lib -lsluice' 'Libs.private: -lm -pthread' >$(DESTDIR)$(PREFIX)/lib/pkgconfig/sluice.pc
VERSION = $(shell sed -n 's/^.define SLUICE_VERSION "\(.*\)"/\1/p' base/base.h)

uninstall:
	rm -rf $(DESTDIR)$(PREFIX)/bin/sluice $(DESTDIR)$(PREFIX)/lib/libsluice.* $(DESTDIR)$(PREFIX)/lib/pkgconfig/sluice.pc \
	  $(DESTDIR)$(PREFIX)/lib/sluice $(DESTDIR)$(PREFIX)/include/sluice.h $(DESTDIR)$(PREFIX)/share/sluice $(DESTDIR)$(PREFIX)/share/man/man1/sluice*.1

# ---- the rest ----
.PHONY: clean format check-style help
clean:
	rm -rf $(BUILD)
format:
	clang-format -i $$(git ls-files '*.c' '*.h' '*.cu')
check-style:
	@tests/integration/style.sh
	@tests/integration/arrows.sh
help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
