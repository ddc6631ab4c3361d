// The Vercel AI SDK and an older major of OpenAI's package, through the proxy and against `sluice serve` itself.
import assert from 'node:assert/strict';

export async function testFrameworks({ test, from, proxy, start }) {
  const { streamText, generateText } = from('ai');
  const { createOpenAI } = from('@ai-sdk/openai');
  const { createAnthropic } = from('@ai-sdk/anthropic');
  const { createOpenAICompatible } = from('@ai-sdk/openai-compatible');
  const OpenAI4 = from('openai-4').default;
  globalThis.AI_SDK_LOG_WARNINGS = false;

  const providers = (url) => {
    const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: 'k' });
    return {
      chat: (name) => openai.chat(`chat_${name}`),
      responses: (name) => openai.responses(`responses_${name}`),
      completions: (name) => openai.completion(`completions_${name}`),
      messages: (name) => createAnthropic({ baseURL: `${url}/v1`, apiKey: 'k' })(`messages_${name}`),
      compatible: (name) => createOpenAICompatible({ name: 'x', baseURL: `${url}/v1`, includeUsage: true })(`chat_${name}`),
    };
  };
  const models = providers(proxy.url);

  // What a reader of the SDK's own stream of parts is shown.
  async function read(model, more) {
    const seen = { text: '', thought: '', calls: [], finish: null, errors: [] };
    const { fullStream } = streamText({ model, prompt: 'hello', maxRetries: 0, onError: () => {}, ...more });
    for await (const part of fullStream) {
      if (part.type === 'text-delta') seen.text += part.text;
      else if (part.type === 'reasoning-delta') seen.thought += part.text;
      else if (part.type === 'tool-call') seen.calls.push(part.input);
      else if (part.type === 'finish') [seen.finish, seen.usage] = [part.finishReason, part.totalUsage.totalTokens];
      else if (part.type === 'error') seen.errors.push(String(part.error.message));
    }
    return seen;
  }

  await test('ai: clean, masked and stopped streams of every interface', async () => {
    const want = { chat: 'my [masked] is safe, write to [masked] now', responses: 'my [masked] is safe', completions: 'a [masked] b', messages: 'my [masked] is safe',
      compatible: 'my [masked] is safe, write to [masked] now' };
    for (const [name, model] of Object.entries(models)) {
      const clean = await read(model('clean'));
      assert.ok(clean.text.includes('SEC') && !clean.text.includes('masked') && clean.usage > 0, `${name}: ${clean.text}`);
      const masked = await read(model('masked'));
      assert.deepEqual([masked.text, masked.finish, masked.errors], [want[name], 'stop', []], name);
      const stopped = await read(model('stopped'));
      assert.deepEqual([stopped.text, stopped.finish, stopped.errors], [name === 'completions' ? 'a ' : 'first the ', 'content-filter', []], name);
    }
  });
  await test('ai: thoughts and tool calls', async () => {
    assert.equal((await read(models.compatible('reasoning'))).thought, 'let me [masked] think');
    assert.equal((await read(models.messages('thinking'))).thought, 'is it [masked]? no');
    for (const name of ['chat', 'compatible']) assert.deepEqual((await read(models[name]('tools'))).calls, [{ q: '[masked]' }, { to: 'x', n: 2 }]);
    for (const name of ['responses', 'messages']) assert.deepEqual((await read(models[name]('tools'))).calls, [{ q: '[masked]' }, { n: 2 }]);
    for (const name of ['chat', 'responses', 'messages']) {
      const stopped = await read(models[name]('tools_stopped'));
      assert.equal(stopped.finish, 'content-filter');
      assert.ok(stopped.calls.every((input) => typeof input === 'string'), 'no call looks whole');
    }
  });
  await test('ai: whole answers, and errors', async () => {
    const whole = async (model) => { const r = await generateText({ model, prompt: 'hello', maxRetries: 0 }); return [r.text, r.finishReason]; };
    const openai = createOpenAI({ baseURL: `${proxy.url}/v1`, apiKey: 'k' });
    const anthropic = createAnthropic({ baseURL: `${proxy.url}/v1`, apiKey: 'k' });
    for (const model of [openai.chat, openai.responses, anthropic]) {
      assert.deepEqual(await whole(model('masked')), ['my [masked] is safe', 'stop']);
      assert.deepEqual(await whole(model('stopped')), ['first the ', 'content-filter']);
      await assert.rejects(whole(model('failing')), (e) => e.statusCode === 429 && e.message === 'slow down');
    }
    for (const model of [openai.chat('breaking'), anthropic('breaking')]) {
      const broken = await read(model, { providerOptions: { openai: { metadata: { like: 'chat_clean' } } } });
      assert.ok(broken.errors.length > 0 && broken.finish !== 'stop', JSON.stringify(broken));
    }
  });
  await test('openai 4: streams, the helper, errors', async () => {
    const openai = new OpenAI4({ apiKey: 'k', baseURL: `${proxy.url}/v1`, maxRetries: 0 });
    const ask = (model) => ({ model, messages: [{ role: 'user', content: 'hello' }] });
    const said = async (model) => {
      let text = '', finish;
      for await (const c of await openai.chat.completions.create({ ...ask(model), stream: true })) {
        text += c.choices[0]?.delta.content ?? '';
        finish = c.choices[0]?.finish_reason ?? finish;
      }
      return [text, finish];
    };
    assert.deepEqual(await said('chat_masked'), ['my [masked] is safe, write to [masked] now', 'stop']);
    assert.deepEqual(await said('chat_stopped'), ['first the ', 'content_filter']);
    await assert.rejects(said('breaking'), /upstream/);
    const message = await openai.beta.chat.completions.stream(ask('chat_tools')).finalMessage();
    assert.deepEqual(message.tool_calls.map((c) => c.function.arguments), ['{"q":"[masked]"}', '{"to":"x","n":2}']);
  });

  const serve = await start('serve', '--parallel', '4');
  await test('ai and openai 4 against sluice serve', async () => {
    const { compatible, completions } = providers(serve.url);
    for (const model of [compatible('any'), completions('any')]) {
      const seen = await read(model, { maxOutputTokens: 6, seed: 3, topP: 0.9, system: 'Be brief.' });
      assert.ok(seen.text.length > 0 && ['length', 'stop'].includes(seen.finish) && seen.usage > 6 && !seen.errors.length, JSON.stringify(seen));
    }
    const asked = { model: compatible('any'), prompt: 'x', maxRetries: 0, tools: { f: { inputSchema: from('zod').z.object({}) } } };
    await assert.rejects(generateText(asked), (e) => e.statusCode === 400 && /^tools: /.test(e.message));
    await generateText({ ...asked, toolChoice: 'none', maxOutputTokens: 3 });
    const openai = new OpenAI4({ apiKey: 'k', baseURL: `${serve.url}/v1`, maxRetries: 0 });
    assert.equal((await openai.models.list()).data[0].id, 'embedded');
    const stream = await openai.chat.completions.create({ model: 'any', stream: true, max_tokens: 900, messages: [{ role: 'user', content: 'Tell me a story.' }] });
    for await (const chunk of stream) if (chunk.choices[0].delta.content) break; // the client goes
    const whole = await openai.chat.completions.create({ model: 'any', max_tokens: 4, n: 2, messages: [{ role: 'user', content: 'hi' }] });
    assert.equal(whole.choices.length, 2);
  });
  await serve.stop();
}
