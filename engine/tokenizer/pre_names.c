/* Table of the splitting patterns that GGUF names (tokenizer.ggml.pre), under the names that llama.cpp gives them. The
 * patterns are those of the families' own tokenizer.json files. */
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

#define CONTRACTION "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
/* Words with one character before them, numbers of the given kind, punctuation with the line breaks behind it, spaces.
 */
#define CL100K(number)                                                                                                 \
  CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" number "| "                                                            \
              "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
/* Words cut where small letters are followed by a capital. */
#define CASED(ending, number)                                                                                          \
  "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" ending "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" ending "|" number  \
  "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define BLOOM " ?[^(\\s|.,!?…。，、।۔،)]+"
#define CASED_LETTERS "[\\p{Lu}\\p{Ll}\\p{Lt}]"
#define CJK "[一-龥ࠀ-一가-퟿]+"

/* Rows with the same patterns stand together; a name may stand once. */
static const struct pre_tokenizer_name table[] = {
    {"gpt-2", {SPLIT_PATTERN_GPT2}, 0},
    {"gpt2", {SPLIT_PATTERN_GPT2}, 0},
    {"phi-2", {SPLIT_PATTERN_GPT2}, 0},
    {"jina-es", {SPLIT_PATTERN_GPT2}, 0},
    {"jina-de", {SPLIT_PATTERN_GPT2}, 0},
    {"jina-v1-en", {SPLIT_PATTERN_GPT2}, 0},
    {"jina-v2-es", {SPLIT_PATTERN_GPT2}, 0},
    {"jina-v2-de", {SPLIT_PATTERN_GPT2}, 0},
    {"jina-v2-code", {SPLIT_PATTERN_GPT2}, 0},
    {"roberta-bpe", {SPLIT_PATTERN_GPT2}, 0},
    {"gigachat", {SPLIT_PATTERN_GPT2}, 0},
    {"exaone4", {SPLIT_PATTERN_GPT2}, 0},
    {"jais", {SPLIT_PATTERN_GPT2}, 0},
    {"a.x-4.0", {SPLIT_PATTERN_GPT2}, 0},
    {"mellum", {SPLIT_PATTERN_GPT2}, 0},
    {"modern-bert", {SPLIT_PATTERN_GPT2}, 0},
    {"trillion", {SPLIT_PATTERN_GPT2}, 0},
    {"granite-docling", {SPLIT_PATTERN_GPT2}, 0},
    {"mpt", {SPLIT_PATTERN_GPT2}, PRE_NFC},
    {"olmo", {SPLIT_PATTERN_GPT2}, PRE_NFC},
    {"gpt-neox", {SPLIT_PATTERN_GPT2}, PRE_NFC}, /* our own name: GGUF has none for it */
    {"llama3", {CL100K("\\p{N}{1,3}")}, PRE_WHOLE_PIECES | PRE_BOS},
    {"llama-v3", {CL100K("\\p{N}{1,3}")}, PRE_WHOLE_PIECES | PRE_BOS},
    {"llama-bpe", {CL100K("\\p{N}{1,3}")}, PRE_WHOLE_PIECES | PRE_BOS},
    {"falcon3", {CL100K("\\p{N}{1,3}")}, PRE_WHOLE_PIECES | PRE_BOS},
    {"falcon-h1", {CL100K("\\p{N}{1,3}")}, PRE_WHOLE_PIECES | PRE_BOS},
    {"pixtral", {CASED("", "\\p{N}")}, PRE_WHOLE_PIECES | PRE_BOS},
    {"midm-2.0", {CL100K("\\p{N}{1,3}")}, PRE_WHOLE_PIECES | PRE_BOS},
    {"lfm2", {CL100K("\\p{N}{1,3}")}, PRE_WHOLE_PIECES | PRE_BOS},
    {"dbrx", {CL100K("\\p{N}{1,3}")}, 0},
    {"smaug-bpe", {CL100K("\\p{N}{1,3}")}, 0},
    {"chatglm-bpe", {CL100K("\\p{N}{1,3}")}, 0},
    {"glm4", {CL100K("\\p{N}{1,3}")}, 0},
    {"qwen2", {CL100K("\\p{N}")}, PRE_NFC},
    {"deepseek-r1-qwen", {CL100K("\\p{N}")}, PRE_NFC},
    {"megrez", {CL100K("\\p{N}")}, 0},
    {"stablelm2", {CL100K("\\p{N}")}, 0},
    {"hunyuan", {CL100K("\\p{N}")}, 0},
    {"kormo", {CL100K("\\p{N}")}, 0},
    {"openpangu", {CL100K("\\p{N}")}, 0},
    {"f2llmv2", {CL100K("\\p{N}")}, 0},
    {"solar-open", {CL100K("\\p{N}")}, 0},
    {"grok-2", {CL100K("\\p{N}")}, 0},
    {"seed-coder",
     {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     0},
    {"qwen35",
     {CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| "
                  "?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     PRE_NFC},
    {"tekken", {CASED("", "\\p{N}")}, PRE_WHOLE_PIECES | PRE_BOS},
    {"gpt-4o", {CASED(CONTRACTION "?", "\\p{N}{1,3}")}, 0},
    {"kanana2", {CASED(CONTRACTION "?", "\\p{N}{1,3}")}, 0},
    {"llama4", {CASED(CONTRACTION "?", "\\p{N}{1,3}")}, 0},
    {"starcoder", {"\\p{N}", SPLIT_PATTERN_GPT2}, 0},
    {"refact", {"\\p{N}", SPLIT_PATTERN_GPT2}, 0},
    {"mellum2", {"\\p{N}", SPLIT_PATTERN_GPT2}, 0},
    {"command-r", {"\\p{N}", SPLIT_PATTERN_GPT2}, PRE_NFC},
    {"smollm", {"\\p{N}", SPLIT_PATTERN_GPT2}, 0},
    {"codeshell", {"\\p{N}", SPLIT_PATTERN_GPT2}, 0},
    {"exaone", {"\\p{N}", SPLIT_PATTERN_GPT2}, 0},
    {"minerva-7b", {"\\p{N}", SPLIT_PATTERN_GPT2}, 0},
    {"poro-chat", {BLOOM}, 0},
    {"bloom", {BLOOM}, 0},
    {"gpt3-finnish", {BLOOM}, 0},
    {"viking", {BLOOM, "\\p{N}"}, 0},
    {"falcon", {"[\\p{P}\\$\\+<=>\\^~\\|`]+", SPLIT_PATTERN_GPT2, "[0-9][0-9][0-9]"}, 0},
    {"deepseek-llm",
     {"[\\r\\n]", "\\s?" CASED_LETTERS "+", "\\s?[!-/:-~！-／：-～‘-‟　-。]+", "\\s+$", CJK, "\\p{N}"},
     0},
    {"deepseek-coder", {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}"}, 0},
    {"deepseek-v3",
     {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?"
      "[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     0},
    {"hunyuan-dense",
     {"\\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?"
      "[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"},
     0},
    {"chameleon",
     {"<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", "\\p{N}",
      "[\\p{P}!-/:-@\\[-`{-~]", SPLIT_PATTERN_GPT2},
     PRE_BOS},
    /* What llama.cpp does with a file that names none. */
    {"default", {"[\\p{P}\\$\\+<=>\\^~\\|]+", SPLIT_PATTERN_GPT2, "\\p{N}+", "[0-9][0-9][0-9]"}, 0},
};

const struct pre_tokenizer_name *pre_tokenizer_named(struct slice name) {
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (slice_is(name, table[i].name)) return &table[i];
  return NULL;
}
