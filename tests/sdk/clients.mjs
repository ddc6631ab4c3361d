// The official clients, curl and a browser read what `sluice proxy` lets through, without special handling. Prints one line a test.
//   SLUICE=build/sluice MODULES=build/sdk/HASH node tests/sdk/clients.mjs      (tests/integration/sdk.sh does it)
import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { testFrameworks } from './frameworks.mjs';
import { browser, testPages } from './pages.mjs';
import { testPrompts } from './prompts.mjs';
import { startUpstream } from './upstream.mjs';

const from = createRequire(join(process.env.MODULES, 'package.json'));
const OpenAI = from('openai').default;
const Anthropic = from('@anthropic-ai/sdk').default;
const run = promisify(execFile);
const work = mkdtempSync(join(tmpdir(), 'sluice-sdk-'));
const stream = (name) => readFileSync(new URL(`../streams/${name}.sse`, import.meta.url), 'utf8');
const ask = [{ role: 'user', content: 'hello' }];
let bad = false;

async function test(name, body) {
  try {
    await body();
    console.log(`ok - ${name}`);
  } catch (e) {
    bad = true;
    console.log(`not ok - ${name}\n${String(e?.stack ?? e).split('\n').slice(0, 12).map((l) => `# ${l}`).join('\n')}`);
  }
}

async function start(verb, ...words) {
  const server = spawn(process.env.SLUICE, [verb, '--listen', '127.0.0.1:0', ...words], { stdio: ['ignore', 'ignore', 'pipe'] });
  process.on('exit', () => server.kill('SIGKILL')); // also when a test goes wrong
  let log = '';
  const url = await new Promise((go, fail) => {
    server.stderr.on('data', (part) => {
      log += part;
      const m = /listen(?:s|ing) at ([0-9.:]+)/.exec(log);
      if (m) go(`http://${m[1]}`);
    });
    server.on('exit', () => fail(new Error(`${verb} ended: ${log}`)));
  });
  return { url, log: () => log, stop: () => new Promise((go) => { server.on('exit', go); server.kill('SIGTERM'); }) };
}

function startProxy(upstream, policy, ...more) {
  const path = join(work, `policy-${Math.random()}.json`);
  writeFileSync(path, JSON.stringify(policy));
  return start('proxy', '--upstream', upstream, '--policy', path, ...more);
}

const upstream = await startUpstream();
const proxy = await startProxy(upstream.url, {
  rules: [
    { id: 'mask', category: 'm', action: 'mask', pattern: 'SECRET' },
    { id: 'mail', category: 'm', action: 'mask', hold: 'word', keywords: ['@'], pattern: '\\w+@\\w+' },
    { id: 'stop', category: 's', action: 'stop', pattern: 'BOMB' },
  ],
});
const openai = new OpenAI({ apiKey: 'k', baseURL: `${proxy.url}/v1`, maxRetries: 0 });
const anthropic = new Anthropic({ apiKey: 'k', baseURL: proxy.url, maxRetries: 0 });

// ---- Chat Completions
const chat = (model, more) => openai.chat.completions.create({ model, messages: ask, stream: true, ...more });
async function readChat(model) {
  const seen = { text: '', finish: [], usage: null, chunks: 0 };
  for await (const chunk of await chat(model)) {
    seen.chunks++;
    seen.fingerprint = chunk.system_fingerprint ?? seen.fingerprint;
    if (chunk.usage) seen.usage = chunk.usage;
    for (const c of chunk.choices) {
      if (c.index === 0) seen.text += c.delta.content ?? '';
      if (c.finish_reason) seen.finish.push([c.index, c.finish_reason]);
    }
  }
  return seen;
}
await test('openai: a clean chat stream', async () => {
  const s = await readChat('chat_clean');
  assert.equal(s.text, 'Hello café, 3 SEC and 🌊 waves');
  assert.deepEqual(s.finish, [[0, 'stop']]);
  assert.equal(s.usage.total_tokens, 21);
  assert.equal(s.fingerprint, 'fp_44709d6fcb');
});
await test('openai: a masked chat stream', async () => {
  const s = await readChat('chat_masked');
  assert.equal(s.text, 'my [masked] is safe, write to [masked] now');
  assert.deepEqual(s.finish, [[0, 'stop']]);
  assert.equal(s.usage.total_tokens, 21);
});
await test('openai: a stopped chat stream', async () => {
  const s = await readChat('chat_stopped');
  assert.equal(s.text, 'first the ');
  assert.deepEqual(s.finish, [[0, 'content_filter']]);
});
await test('openai: choices of a chat stream are independent', async () => {
  const s = await readChat('chat_choices');
  assert.equal(s.text, 'one ');
  assert.deepEqual(s.finish, [[0, 'content_filter'], [1, 'stop']]);
  assert.equal(s.usage.total_tokens, 21);
});
await test('openai: log-probabilities of masked text are gone, others stay', async () => {
  const tokens = [];
  for await (const chunk of await chat('chat_logprobs'))
    for (const c of chunk.choices) for (const t of c.logprobs?.content ?? []) tokens.push(t);
  assert.ok(!JSON.stringify(tokens).includes('SEC') && !JSON.stringify(tokens).includes('83,69,67'));
  assert.deepEqual(tokens.filter((t) => t.top_logprobs.length).map((t) => t.token), ['The ', ' is', ' out']);
});
await test('openai: the chat stream helper reads tool calls', async () => {
  const done = await openai.chat.completions.stream({ model: 'chat_tools', messages: ask }).finalChatCompletion();
  const calls = done.choices[0].message.tool_calls;
  assert.deepEqual(calls.map((c) => [c.id, c.function.name, c.function.arguments]),
    [['call_1', 'look_up', '{"q":"[masked]"}'], ['call_2', 'send', '{"to":"x","n":2}']]);
  assert.equal(done.choices[0].finish_reason, 'tool_calls');
});
await test('openai: a stopped tool call does not look complete', async () => {
  let args = '', finish = null;
  for await (const chunk of await chat('chat_tools_stopped')) {
    args += chunk.choices[0]?.delta.tool_calls?.[0]?.function?.arguments ?? '';
    finish = chunk.choices[0]?.finish_reason ?? finish;
  }
  assert.equal(args, '{"q":"how ');
  assert.throws(() => JSON.parse(args));
  assert.equal(finish, 'content_filter');
});
await test('openai: whole chat answers', async () => {
  const whole = (model) => openai.chat.completions.create({ model, messages: ask });
  assert.equal((await whole('clean')).choices[0].message.content, 'nothing to see');
  const masked = await whole('masked');
  assert.equal(masked.choices[0].message.content, 'my [masked] is safe');
  assert.equal(masked.usage.total_tokens, 7);
  const stopped = (await whole('stopped')).choices[0];
  assert.deepEqual([stopped.message.content, stopped.finish_reason], ['first the ', 'content_filter']);
  assert.equal((await whole('tools')).choices[0].message.tool_calls[0].function.arguments, '{"q":"[masked]"}');
});
await test("openai: the server's own errors arrive", async () => {
  await assert.rejects(chat('failing'), (e) => e instanceof OpenAI.RateLimitError && e.code === 'rate_limit_exceeded');
});
await test('openai: a stream that breaks off is an error', async () => {
  let text = '';
  await assert.rejects(async () => {
    for await (const chunk of await chat('breaking')) text += chunk.choices[0]?.delta.content ?? '';
  }, (e) => e instanceof OpenAI.APIError && /upstream/.test(e.message));
  assert.ok('Hello café, 3 SEC and 🌊 waves'.startsWith(text));
});

// ---- Completions
async function readCompletions(model) {
  const texts = [], finish = [];
  for await (const chunk of await openai.completions.create({ model, prompt: 'x', stream: true }))
    for (const c of chunk.choices) {
      texts[c.index] = (texts[c.index] ?? '') + c.text;
      if (c.finish_reason) finish.push([c.index, c.finish_reason]);
    }
  return [texts, finish];
}
await test('openai: completions, clean, masked, stopped, several choices', async () => {
  assert.deepEqual(await readCompletions('completions_clean'), [['Once upon a SEC time'], [[0, 'length']]]);
  assert.deepEqual(await readCompletions('completions_masked'), [['a [masked] b'], [[0, 'stop']]]);
  assert.deepEqual(await readCompletions('completions_stopped'), [['a '], [[0, 'content_filter']]]);
  assert.deepEqual(await readCompletions('completions_choices'), [['x [masked]', 'y '], [[1, 'content_filter'], [0, 'stop']]]);
  const whole = await openai.completions.create({ model: 'stopped', prompt: 'x' });
  assert.deepEqual([whole.choices[0].text, whole.choices[0].finish_reason], ['first the ', 'content_filter']);
});

// ---- Responses
async function readResponses(model) {
  const events = [];
  for await (const e of await openai.responses.create({ model, input: 'hello', stream: true })) events.push(e);
  assert.deepEqual(events.map((e) => e.sequence_number), events.map((_, i) => i), 'sequence numbers have no gap');
  return events;
}
const joined = (events, type) => events.filter((e) => e.type === type).map((e) => e.delta).join('');
await test('openai: a clean Responses stream', async () => {
  const events = await readResponses('responses_clean');
  assert.equal(joined(events, 'response.output_text.delta'), 'Hello café SEC and 🌊');
  assert.equal(events.at(-1).type, 'response.completed');
});
await test('openai: a masked Responses stream says the same in every repeat', async () => {
  const events = await readResponses('responses_masked');
  const want = 'my [masked] is safe';
  assert.equal(joined(events, 'response.output_text.delta'), want);
  assert.equal(events.find((e) => e.type === 'response.output_text.done').text, want);
  assert.equal(events.find((e) => e.type === 'response.content_part.done').part.text, want);
  assert.equal(events.find((e) => e.type === 'response.output_item.done').item.content[0].text, want);
  assert.equal(events.at(-1).response.output[0].content[0].text, want);
});
await test('openai: a stopped Responses stream', async () => {
  const events = await readResponses('responses_stopped');
  assert.equal(joined(events, 'response.output_text.delta'), 'first the ');
  assert.equal(events.at(-1).type, 'response.incomplete');
  assert.equal(events.at(-1).response.incomplete_details.reason, 'content_filter');
});
await test('openai: the Responses stream helper', async () => {
  const masked = await openai.responses.stream({ model: 'responses_masked', input: 'hello' }).finalResponse();
  assert.equal(masked.output_text, 'my [masked] is safe');
  const tools = await openai.responses.stream({ model: 'responses_tools', input: 'hello' }).finalResponse();
  assert.deepEqual(tools.output.map((o) => o.arguments), ['{"q":"[masked]"}', '{"n":2}']);
  const stopped = await openai.responses.stream({ model: 'responses_stopped', input: 'hello' }).finalResponse();
  assert.equal(stopped.status, 'incomplete');
});
await test('openai: a stopped tool call of Responses does not look complete', async () => {
  const events = await readResponses('responses_tools_stopped');
  assert.equal(joined(events, 'response.function_call_arguments.delta'), '{"q":"how ');
  assert.ok(!events.some((e) => e.type === 'response.function_call_arguments.done' || e.type === 'response.output_item.done'));
});
await test('openai: whole Responses', async () => {
  assert.equal((await openai.responses.create({ model: 'masked', input: 'hello' })).output_text, 'my [masked] is safe');
  const stopped = await openai.responses.create({ model: 'stopped', input: 'hello' });
  assert.deepEqual([stopped.status, stopped.output_text], ['incomplete', 'first the ']);
});
await test('openai: a Responses stream that breaks off is an error', async () => {
  await assert.rejects(async () => {
    for await (const e of await openai.responses.create({ model: 'breaking', input: 'x', stream: true, metadata: { like: 'responses_clean' } })) void e;
  }, (e) => e instanceof OpenAI.APIError);
});

// ---- Messages
const message = (model, more) => anthropic.messages.stream({ model, max_tokens: 9, messages: ask, ...more }).finalMessage();
await test('anthropic: a clean stream', async () => {
  const m = await message('messages_clean');
  assert.equal(m.content[0].text, 'Hello café SEC and 🌊');
  assert.deepEqual([m.stop_reason, m.usage.output_tokens], ['end_turn', 15]);
});
await test('anthropic: a masked stream', async () => {
  const m = await message('messages_masked');
  assert.equal(m.content[0].text, 'my [masked] is safe');
});
await test('anthropic: a stopped stream', async () => {
  const m = await message('messages_stopped');
  assert.deepEqual([m.content.map((b) => b.text), m.stop_reason], [['first the '], 'refusal']);
  const raw = [];
  for await (const e of await anthropic.messages.create({ model: 'messages_stopped', max_tokens: 9, messages: ask, stream: true })) raw.push(e.type);
  assert.deepEqual(raw.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
  assert.equal(raw.filter((t) => t === 'message_delta').length, 1);
});
await test('anthropic: thinking keeps its signature and its place', async () => {
  const m = await message('messages_thinking');
  assert.deepEqual(m.content.map((b) => b.type), ['thinking', 'redacted_thinking', 'text']);
  assert.equal(m.content[0].thinking, 'is it [masked]? no');
  assert.equal(m.content[0].signature, 'EqQBCgIYAhIM1gbcDa9GJwZA2b3h');
  assert.equal(m.content[1].data, 'EmwKAhgBEgy3va3pzix/LafPsn4a');
});
await test('anthropic: tool calls', async () => {
  const m = await message('messages_tools');
  assert.deepEqual(m.content.slice(1).map((b) => b.input), [{ q: '[masked]' }, { n: 2 }]);
  const stopped = await message('messages_tools_stopped');
  assert.equal(stopped.stop_reason, 'refusal');
  assert.ok(!JSON.stringify(stopped).includes('BOMB') && !stopped.content.some((b) => b.id === 'toolu_2'));
});
await test('anthropic: whole messages', async () => {
  const whole = (model) => anthropic.messages.create({ model, max_tokens: 9, messages: ask });
  assert.equal((await whole('masked')).content[0].text, 'my [masked] is safe');
  const stopped = await whole('stopped');
  assert.deepEqual([stopped.content[0].text, stopped.stop_reason], ['first the ', 'refusal']);
  assert.deepEqual((await whole('tools')).content[0].input, { q: '[masked]' });
});
await test("anthropic: the server's own errors, and streams that break off", async () => {
  await assert.rejects(message('failing'), (e) => e instanceof Anthropic.RateLimitError);
  await assert.rejects(message('breaking', { metadata: { like: 'messages_clean' } }), (e) => e instanceof Anthropic.AnthropicError);
});

await testFrameworks({ test, from, proxy, start });
await testPrompts({ test, startProxy, upstream, OpenAI, Anthropic });

// ---- curl and a browser
await test('curl: clean streams of every interface arrive byte for byte', async () => {
  for (const [path, model] of [['chat/completions', 'chat_clean'], ['chat/completions', 'chat_strange'], ['completions', 'completions_clean'],
    ['messages', 'messages_clean'], ['responses', 'responses_clean']]) {
    const { stdout } = await run('curl', ['-sN', '--max-time', '20', `${proxy.url}/v1/${path}`, '-H', 'content-type: application/json', '-d',
      JSON.stringify({ model, stream: true, messages: ask })]);
    if (model !== 'chat_strange') assert.equal(stdout, stream(model), model);
    else assert.ok(stdout.endsWith('data: [DONE]') && stdout.includes('18446744073709551615') && !stdout.includes('RET '));
  }
});
if (process.env.CHROME) {
  const browse = browser({ upstream, work });
  await test('a browser: fetch reads the streams', async () => {
    const seen = await browse(`${proxy.url}/page`);
    assert.equal(seen.error, undefined);
    assert.equal(seen.chat_clean.text, stream('chat_clean'));
    assert.equal(seen.chat_clean.type, 'text/event-stream');
    assert.ok(seen.chat_masked.text.includes('my [masked]') && seen.chat_masked.text.endsWith('data: [DONE]\n\n'));
    assert.ok(seen.chat_stopped.text.includes('content_filter') && seen.chat_stopped.text.endsWith('data: [DONE]\n\n'));
    assert.ok(seen.messages_masked.text.includes('[masked]') && seen.messages_stopped.text.includes('"refusal"'));
  });
  await testPages({ test, startProxy, upstream, browse });
} else {
  console.log('skip - a browser: fetch reads the streams, and a page of another origin what is refused: no Chromium runs here');
}

await proxy.stop();
upstream.close();
rmSync(work, { recursive: true, force: true, maxRetries: 5 });
process.exit(bad ? 1 : 0);
