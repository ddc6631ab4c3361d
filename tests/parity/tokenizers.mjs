#!/usr/bin/env node
// Compares ids and decoding with the Hugging Face tokenizers library on texts that are meant to be hard.
//
//   tests/parity/tokenizers.mjs --dump build/tests/parity/dump_ids --library FOLDER [--texts N] TOKENIZER.json...
//
// FOLDER is a node_modules that holds @anush008/tokenizers (npm install @anush008/tokenizers), which binds that library.
// The texts come from one seed: every script, emoji, combining marks, white space, numbers, code, the vocabulary's own
// tokens and its added tokens in odd places, random characters, words of 100 KB. For each file it prints how many texts
// have other ids, and how many decode to other text, with the shortest of each; a file that is refused says why.
import { createRequire } from "node:module";
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync, rmSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { readOptions } from "./options.mjs";

let state = 1n;
const mask = (1n << 64n) - 1n;
function random(n) { // splitmix64
  state = (state + 0x9e3779b97f4a7c15n) & mask;
  let z = state;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
  z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
  return Number((z ^ (z >> 31n)) % BigInt(n));
}
const pick = (list) => list[random(list.length)];
const many = (n, make) => Array.from({ length: n }, make).join("");

const ranges = [
  [0x20, 0x7e], [0x00, 0x1f], [0x7f, 0xa0], [0xa1, 0x24f], [0x250, 0x36f], [0x370, 0x3ff], [0x400, 0x52f], [0x530, 0x5ff],
  [0x600, 0x6ff], [0x700, 0x8ff], [0x900, 0xdff], [0xe00, 0xfff], [0x1000, 0x139f], [0x13a0, 0x18af], [0x1900, 0x1fff],
  [0x2000, 0x206f], [0x2070, 0x214f], [0x2150, 0x23ff], [0x2400, 0x27bf], [0x27c0, 0x2bff], [0x2c00, 0x2fff],
  [0x3000, 0x303f], [0x3040, 0x30ff], [0x3100, 0x33ff], [0x3400, 0x4dbf], [0x4e00, 0x9fff], [0xa000, 0xabff],
  [0xac00, 0xd7a3], [0xe000, 0xe0ff], [0xf900, 0xfaff], [0xfb00, 0xfdff], [0xfe00, 0xfe6f], [0xfe70, 0xfeff],
  [0xff00, 0xffef], [0xfff0, 0xffff], [0x10000, 0x100ff], [0x10300, 0x10fff], [0x11000, 0x11fff], [0x16800, 0x16fff],
  [0x1d100, 0x1d1ff], [0x1d400, 0x1d7ff], [0x1e900, 0x1e95f], [0x1f000, 0x1f2ff], [0x1f300, 0x1f64f], [0x1f680, 0x1faff],
  [0x20000, 0x2ffff], [0xe0000, 0xe01ff], [0xf0000, 0xf00ff], [0x10ff00, 0x10ffff],
];
const character = ([from, to]) => String.fromCodePoint(from + random(to - from + 1));
const spaces = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\t\t", " \n", "\n ", "\r", "\u00a0", "\u2003", "\u3000", "\u2028",
  "\u0085", "\v", "\f", "\u200b", "\ufeff", "\u1680", "\u2581", " \u2581", "\u180e"];
const words = ["the", "Hello", "don't", "DON'T", "I'll", "we've", "it's", "IT'S", "you'RE", "'s", "'S", "'ſ", "'t", "'em", "naïve",
  "nai\u0308ve", "Ünïcödé", "U\u0308", "straße", "ﬁ", "Ω", "Å", "A\u030a", "é", "e\u0301", "가", "\u1100\u1161", "각", "日本語", "中文", "한국어",
  "ไทย", "हिन्दी", "العربية", "עברית", "Ελληνικά", "русский", "Việt", "Vie\u0323\u0302t", "ქართული", "አማርኛ", "বাংলা", "தமிழ்", "ǅ", "ʰ", "ª",
  "x²", "½", "Ⅷ", "①", "٣", "४", "１２", "12", "123", "1234", "12345", "1234567", "3.14", "1,000,000", "0x1F", "1e-9", "v1.2.3",
  "👍", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇺🇸🇬🇧", "❤️", "☺", "©", "™", "…", "—", "«»", "“”", "‘", "¿", "$", "€", "+", "=", "<", ">", "|", "`",
  "^", "~", "#", "##", "http://a.b/c?d=e&f=%20", "a@b.co", "camelCase", "snake_case", "SCREAMING_CASE", "HTTPServer", "iPhone",
  "if (x) {\n    return;\n}", "def f(x):\n\treturn x\n", "/* */", "//", "!=", "->", "::", "...", "....", "?!", "!!!", "---", "___", "\\n",
  "\"q\"", "'q'", "(", ")", "[", "]", "{", "}", ",", ".", ";", ":", "\u200d", "\ufe0f", "\u0301", "\u0000", "\u0007", "\u001b[0m", "Ꞩ", "𝒳",
  "𐐷", "ꙮ", "ﷺ", "ṩ", "s\u0323\u0307", "s\u0307\u0323", "\u0344", "\u2126", "豈", "\ufb1d", "<s>", "</s>", "<unk>", "<0x41>", "<0x0A>", "▁", "▁▁", "▁the",
  "Ġ", "Ċ", "Ġthe", "ĠĠ", "Â", "Ã", "<|endoftext|>", "<|im_start|>", "[INST]", "IMGIMGAZ"];

function texts(vocabulary, added, n) {
  const out = ["", " ", "  ", "\n", "a", " a", "  a", "a ", "a  ", ...spaces, ...words, ...added, ...words.map((w) => " " + w),
    ...words.map((w) => w + " "), ...spaces.flatMap((s) => [s + "a", "a" + s, "a" + s + "b", s + s + s + "a", "1" + s + "1", "." + s + "x"])];
  for (const a of added) for (const s of ["x", " ", "\n", "é", "_", "1", "\u0301"]) out.push(s + a, a + s, s + a + s, a + s + a, "x " + a + " y", a + a);
  const makers = [
    () => many(1 + random(30), () => character(pick(ranges))),
    () => { const r = pick(ranges); return many(1 + random(20), () => character(r)); },
    () => many(1 + random(20), () => pick(words) + (random(3) ? pick(spaces) : "")),
    () => many(1 + random(12), () => pick(vocabulary)),
    () => many(1 + random(12), () => pick(vocabulary) + pick(spaces)),
    () => many(1 + random(10), () => (added.length && random(3) === 0 ? pick(added) : random(2) ? pick(words) : pick(spaces))),
    () => many(1 + random(15), () => (random(2) ? pick(spaces) : character(pick(ranges)))),
    () => many(1 + random(40), () => String(random(10 ** (1 + random(9)))) + (random(4) ? "" : pick(spaces))),
    () => many(1 + random(60), () => character(ranges[0])),
    () => (random(2) ? pick(words) : character(pick(ranges))).repeat(1 + random(60)),
    () => many(2 + random(8), () => character([0x61, 0x7a]) + many(random(4), () => character([0x300, 0x36f]))),
  ];
  for (let i = 0; i < n; i++) out.push(makers[i % makers.length]());
  for (const unit of ["a", "ab", "the", "é", "日本", " ", "\n", "1", "!", "👍", "aA", "xyzzy ", "e\u0301"]) out.push(unit.repeat(100000 / unit.length));
  out.push(many(100000, () => character([0x61, 0x7a])), many(30000, () => character(pick(ranges))));
  return out.filter((t) => t.isWellFormed());
}

const show = (s) => JSON.stringify(s.length > 120 ? s.slice(0, 120) + "..." : s).replace(/[^\x20-\x7e]/g, (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0"));

function pack(list) {
  return Buffer.concat(list.flatMap((t) => {
    const bytes = Buffer.from(t), head = Buffer.alloc(4);
    head.writeUInt32LE(bytes.length);
    return [head, bytes];
  }));
}

async function compare(library, dump, path, n) {
  const source = readFileSync(path, "utf8"), json = JSON.parse(source);
  const added = (json.added_tokens ?? []).map((a) => a.content).filter((_, i) => i < 300);
  const tokenizer = library.Tokenizer.fromString(source);
  const size = tokenizer.getVocabSize(true);
  const plain = (await tokenizer.decodeBatch(Array.from({ length: 4000 }, () => [random(size)]), false)).filter((s) => s && !s.includes("\ufffd"));
  const list = texts(plain, added, n), folder = mkdtempSync(join(tmpdir(), "parity-"));
  try {
    writeFileSync(join(folder, "texts"), pack(list));
    let lines;
    try {
      lines = execFileSync(dump, [path, join(folder, "texts")], { maxBuffer: 1 << 30, stdio: ["ignore", "pipe", "pipe"] }).toString("latin1").split("\n");
    } catch (e) {
      console.log(`${path}: refused: ${String(e.stderr).trim()}`);
      return false;
    }
    const encoded = await tokenizer.encodeBatch(list, { addSpecialTokens: false });
    const ids = encoded.map((e) => e.getIds()), decoded = await tokenizer.decodeBatch(ids, false);
    let wrong = [], undone = [];
    list.forEach((text, i) => {
      const [mine, hex] = lines[i].split("\t");
      if (mine !== ids[i].join(" ")) wrong.push([text, mine, ids[i].join(" ")]);
      else {
        const bytes = Buffer.from(hex, "hex").toString("utf8"); // an invalid byte becomes U+FFFD, in both
        if (bytes !== decoded[i] && bytes !== " " + decoded[i]) undone.push([text, bytes, decoded[i]]);
      }
    });
    const shortest = (l) => l.sort((a, b) => a[0].length - b[0].length).slice(0, 6);
    console.log(`${path}: ${list.length} texts, ${wrong.length} with other ids, ${undone.length} decoded to other text`);
    for (const [text, mine, theirs] of shortest(wrong)) console.log(`  ${show(text)}\n    here ${mine.slice(0, 150)}\n    library ${theirs.slice(0, 150)}`);
    for (const [text, mine, theirs] of shortest(undone)) console.log(`  decoding ${show(text)}\n    here ${show(mine)}\n    library ${show(theirs)}`);
    return wrong.length === 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const { options, files } = readOptions("tokenizers.mjs --dump DUMP_IDS --library NODE_MODULES [--texts N] TOKENIZER.json...",
  ["dump", "library"], { texts: 6000 });
const library = createRequire(resolve(options.library) + "/")("@anush008/tokenizers");
let failed = 0;
for (const f of files) failed += (await compare(library, options.dump, f, Number(options.texts))) ? 0 : 1;
process.exit(failed ? 1 : 0);
