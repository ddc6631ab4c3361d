#!/usr/bin/env node
// Compares the prompts of chat templates with those that a Jinja renderer makes of the same program.
//
//   tests/parity/templates.mjs --dump build/tests/parity/dump_prompts --library FOLDER PROGRAM...
//
// FOLDER is a node_modules that holds @huggingface/jinja (npm install @huggingface/jinja). A PROGRAM is a .jinja file, a
// tokenizer_config.json, or a JSON list of {"name", "text", "bos", "eos"}. Each is put into a tiny model's folder, whose
// vocabulary is the 256 bytes and the special tokens that stand in the program: once with all of its marks special, once
// with the BOS and EOS alone. A program is `same` (recognised, every prompt the renderer's), `unknown` (refused), or
// `WRONG`, with the first differing prompt. Where the renderer raises an error there is nothing to compare.
import { createRequire } from "node:module";
import { execFileSync } from "node:child_process";
import { mkdtempSync, writeFileSync, rmSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve, basename } from "node:path";
import { readOptions } from "./options.mjs";

const u = (t) => ["user", t], s = (t) => ["system", t], a = (t) => ["assistant", t];
const dialogues = [
  [u("Hello there.")],
  [s("Be kind."), u("Hello there.")],
  [u("Hi"), a("Yo."), u("Bye")],
  [s("Be kind.\nAnd short."), u("Hi"), a("Yo."), u("Bye")],
  [u("One?"), a("Two."), u("Three?"), a("Four."), u("Five?")],
  [s("S"), u("One?"), a("Two."), u("Three?"), a("Four.\n\nMore."), u("Five?"), a("Six"), u("Seven")],
  [s(""), u("Hi")],
  [u("")],
  [u("Hi"), a(""), u("Bye")],
  [s("  spaced  "), u("  Hi \n"), a(" Yo.  "), u("\tBye\n\n")],
  [u("Ünïcödé 日本 👩‍👩‍👧")],
  [u("a <|im_end|> b </s> [INST] c [/INST] <|eot_id|> <|end|> <start_of_turn> d"), a("<s><|endoftext|>"), u("USER: x ASSISTANT: y")],
  [u("x</think>y"), a("<think>\nmmh\n</think>\n\nYes."), u("Bye")],
  [u("Hi"), a("It begins")],
  [s("S"), u("Hi"), a("Yo."), u("More"), a("It begins so")],
];

// The names that published programs mark turns with; what is quoted in a program and looks like one is one.
function marksOf(text) {
  const found = text.match(/<\|[^<>|\s{}'"]{1,40}\|>|<｜[^｜{}'"]{1,40}｜>|<\/?s>|\[\/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_RESULTS|TOOL_CALLS)\]|<(?:start|end)_of_turn>|<\|?(?:START|END|CHATBOT|SYSTEM|USER)_[A-Z_]+\|?>|<\/?think>|\[BOS\]|\[EOS\]/g) ?? [];
  return [...new Set(found)];
}

function folderOf(program, specials) {
  const folder = mkdtempSync(join(tmpdir(), "templates-")), vocab = {}, D = 32, F = 32;
  const printable = (b) => (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
  for (let b = 0, other = 0; b < 256; b++) vocab[String.fromCodePoint(printable(b) ? b : 0x100 + other++)] = b;
  const added = specials.map((content, i) => ({ id: 256 + i, content, special: true, normalized: false, single_word: false, lstrip: false, rstrip: false }));
  const V = 256 + specials.length, id = (t) => (specials.includes(t) ? 256 + specials.indexOf(t) : undefined);
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify({ version: "1.0", added_tokens: added, normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true }, post_processor: null, decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab, merges: [] } }));
  writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ chat_template: program.text, bos_token: program.bos, eos_token: program.eos }));
  writeFileSync(join(folder, "config.json"), JSON.stringify({ architectures: ["LlamaForCausalLM"], model_type: "llama", hidden_size: D, intermediate_size: F,
    num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1, vocab_size: V, max_position_embeddings: 65536, tie_word_embeddings: true,
    rms_norm_eps: 1e-5, bos_token_id: id(program.bos), eos_token_id: id(program.eos) }));
  const l = "model.layers.0.", shapes = { "model.embed_tokens.weight": [V, D], "model.norm.weight": [D] };
  for (const n of ["q", "k", "v", "o"]) shapes[`${l}self_attn.${n}_proj.weight`] = [D, D];
  for (const n of ["gate", "up", "down"]) shapes[`${l}mlp.${n}_proj.weight`] = [D, D];
  for (const n of ["input", "post_attention"]) shapes[`${l}${n}_layernorm.weight`] = [D];
  let at = 0;
  const header = Object.fromEntries(Object.entries(shapes).map(([n, shape]) => {
    const from = at;
    at += 4 * shape.reduce((x, y) => x * y);
    return [n, { dtype: "F32", shape, data_offsets: [from, at] }];
  }));
  let head = JSON.stringify(header);
  head += " ".repeat(7 - ((head.length + 7) % 8));
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(head.length));
  writeFileSync(join(folder, "model.safetensors"), Buffer.concat([size, Buffer.from(head), Buffer.alloc(at)]));
  return folder;
}

// What the renderer writes: [text] or [null, why]. A dialogue that ends with the assistant's turn is gone on with.
function reference(template, program, dialogue) {
  const messages = dialogue.map(([role, content]) => ({ role, content })), last = messages.at(-1);
  const goesOn = last.role === "assistant";
  const given = { bos_token: program.bos, eos_token: program.eos, unk_token: "<unk>", date_string: "26 Jul 2024", add_generation_prompt: !goesOn };
  try {
    const text = template.render({ messages, ...given });
    if (!goesOn) return [text];
    const end = text.lastIndexOf(last.content);
    return end < 0 ? [null, "the answer is not in it"] : [text.slice(0, end + last.content.length)];
  } catch (e) {
    return [null, String(e.message)];
  }
}

const show = (t) => JSON.stringify(t);

function compare(Template, dump, program, specials) {
  const template = new Template(program.text), folder = folderOf(program, specials);
  try {
    writeFileSync(join(folder, "dialogues"), JSON.stringify(dialogues));
    let lines;
    try {
      lines = execFileSync(dump, [folder, join(folder, "dialogues")], { maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "pipe"] }).toString().split("\n");
    } catch (e) {
      return { verdict: "refused", why: String(e.stderr).trim() };
    }
    const name = lines.shift(), differing = [];
    let compared = 0;
    if (name === "none") return { verdict: "unknown" };
    dialogues.forEach((dialogue, i) => {
      const [theirs, why] = reference(template, program, dialogue);
      const mine = lines[i].startsWith("error") ? lines[i] : Buffer.concat(lines[i].trim().split(" ").filter((x) => x !== "")
        .map((x) => (x < 256 ? Buffer.from([x]) : Buffer.from(specials[x - 256])))).toString();
      if (theirs === null) return void why;
      compared++;
      if (mine !== theirs) differing.push({ dialogue, mine, theirs });
    });
    return { verdict: differing.length ? "WRONG" : "same", name, compared, differing };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function programsOf(path) {
  const text = readFileSync(path, "utf8"), word = (t) => t?.content ?? t;
  if (path.endsWith(".jinja")) return [{ name: basename(path), text }];
  const json = JSON.parse(text);
  if (Array.isArray(json)) return json;
  const published = json.chat_template, list = Array.isArray(published) ? published : published ? [{ name: "default", template: published }] : [];
  return list.map((t) => ({ name: `${path}: ${t.name}`, text: t.template, bos: word(json.bos_token), eos: word(json.eos_token) }));
}

const { options, files } = readOptions("templates.mjs --dump DUMP_PROMPTS --library NODE_MODULES PROGRAM...", ["dump", "library"]);
const { Template } = createRequire(resolve(options.library) + "/")("@huggingface/jinja");
const counts = { same: 0, unknown: 0, refused: 0, WRONG: 0 };
for (const program of files.flatMap(programsOf)) {
  const marks = marksOf(program.text);
  if (marks.includes("<|start_header_id|>") && !marks.includes("<|begin_of_text|>")) marks.push("<|begin_of_text|>");
  program.bos ??= marks.find((m) => /^(<s>|<\|begin_of_text\|>|<\|startoftext\|>|<bos>|<｜begin▁of▁sentence｜>)$/.test(m)) ?? "<s>";
  program.eos ??= marks.find((m) => /^(<\/s>|<\|eot_id\|>|<\|im_end\|>|<\|end\|>|<｜end▁of▁sentence｜>)$/.test(m)) ?? "</s>";
  const ends = [program.bos, program.eos].filter((t) => t);
  const kinds = { all: [...new Set([...ends, ...marks])], ends: [...new Set(ends)] };
  for (const [kind, specials] of Object.entries(kinds)) {
    if (kind === "ends" && kinds.all.length === specials.length) continue;
    const r = compare(Template, options.dump, program, specials);
    counts[r.verdict]++;
    console.log(`${r.verdict}\t${kind}\t${program.name}\t${r.name ?? r.why ?? ""}${r.compared !== undefined ? `\t${r.compared} compared, ${r.differing.length} differ` : ""}`);
    for (const d of (r.differing ?? []).slice(0, Number(options.show ?? 1)))
      console.log(`    of      ${show(d.dialogue)}\n    here    ${show(d.mine)}\n    program ${show(d.theirs)}`);
  }
}
console.log(JSON.stringify(counts));
process.exit(counts.WRONG ? 1 : 0);
