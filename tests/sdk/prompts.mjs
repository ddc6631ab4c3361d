// Prompts that are blocked or masked before they are sent, and the modes of routes, as the official clients see them.
import assert from 'node:assert/strict';

const rules = [
  { id: 'mask', category: 'm', action: 'mask', pattern: 'SECRET', on: ['prompt', 'answer'] },
  { id: 'stop', category: 's', action: 'stop', pattern: 'BOMB', on: ['prompt', 'answer'] },
];
const routes = [{ name: 'watched', match: { header: { 'x-watched': 'yes' }, dialect: 'openai_chat' }, mode: 'shadow' }];
const words = "this request was blocked by the server's content policy";

export async function testPrompts({ test, startProxy, upstream, OpenAI, Anthropic }) {
  const proxy = await startProxy(upstream.url, { rules, routes });
  const polite = await startProxy(upstream.url, { rules }, '--blocked', 'refusal');
  const clients = (p, headers) => [
    new OpenAI({ apiKey: 'k', baseURL: `${p.url}/v1`, maxRetries: 0, defaultHeaders: headers }),
    new Anthropic({ apiKey: 'k', baseURL: p.url, maxRetries: 0 }),
  ];
  const [openai, anthropic] = clients(proxy);
  const [openaiPolite, anthropicPolite] = clients(polite);
  const sent = () => upstream.seen.requests.length;
  const harm = [{ role: 'user', content: 'how do I make a BOMB' }];
  const asks = (o, a, stream) => [
    () => o.chat.completions.create({ model: 'chat_clean', messages: harm, stream }),
    () => o.completions.create({ model: 'completions_clean', prompt: ['x', 'a BOMB'], stream }),
    () => o.responses.create({ model: 'responses_clean', instructions: 'be BOMB', input: 'x', stream }),
    () => a.messages.create({ model: 'messages_clean', max_tokens: 9, system: 'x', messages: harm, stream }),
  ];

  await test('prompts: what is blocked is an error that clients know, and nothing is sent', async () => {
    const before = sent();
    for (const stream of [false, true])
      for (const ask of asks(openai, anthropic, stream))
        await assert.rejects(ask, (e) => e.status === 400 && e.message.includes(words) && (e.code ?? 'content_filter') === 'content_filter' &&
          (e instanceof OpenAI.BadRequestError || e instanceof Anthropic.BadRequestError));
    assert.equal(sent(), before);
  });

  await test('prompts: or a refusal of the model, whole and streamed, and nothing is sent', async () => {
    const before = sent();
    const [chat, old, responses, messages] = asks(openaiPolite, anthropicPolite, false);
    const c = (await chat()).choices[0];
    assert.deepEqual([c.message.refusal, c.message.content, c.finish_reason], [words, null, 'content_filter']);
    assert.deepEqual([(await old()).choices[0].finish_reason, (await old()).choices[0].text], ['content_filter', '']);
    const r = await responses();
    assert.deepEqual([r.status, r.incomplete_details.reason, r.output[0].content[0].refusal, r.model], ['incomplete', 'content_filter', words, 'responses_clean']);
    const m = await messages();
    assert.deepEqual([m.stop_reason, m.content[0].text], ['refusal', words]);

    const done = await openaiPolite.chat.completions.stream({ model: 'chat_clean', messages: harm }).finalChatCompletion();
    assert.deepEqual([done.choices[0].message.refusal, done.choices[0].finish_reason], [words, 'content_filter']);
    const final = await openaiPolite.responses.stream({ model: 'responses_clean', input: 'a BOMB' }).finalResponse();
    assert.deepEqual([final.status, final.output[0].content[0].refusal], ['incomplete', words]);
    const said = await anthropicPolite.messages.stream({ model: 'messages_clean', max_tokens: 9, messages: harm }).finalMessage();
    assert.deepEqual([said.stop_reason, said.content[0].text], ['refusal', words]);
    let finish;
    for await (const chunk of await openaiPolite.completions.create({ model: 'completions_clean', prompt: 'BOMB', stream: true })) finish = chunk.choices[0].finish_reason;
    assert.equal(finish, 'content_filter');
    assert.equal(sent(), before);
  });

  await test('prompts: masks stand in what is sent, and nothing else changes', async () => {
    const tools = [{ type: 'function', function: { name: 'look_up', parameters: { type: 'object', properties: {} } } }];
    await openai.chat.completions.create({
      model: 'clean', seed: 7, tools, messages: [{ role: 'system', content: 'keep SECRET' }, { role: 'user', content: [{ type: 'text', text: 'my SECRET é' }] },
        { role: 'assistant', tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'look_up', arguments: '{"q":"SECRET"}' } }] },
        { role: 'tool', tool_call_id: 'call_1', content: 'it is SECRET' }],
    });
    const { body } = upstream.seen.requests.at(-1);
    assert.deepEqual(body.messages.map((m) => m.content?.[0]?.text ?? m.content ?? m.tool_calls[0].function.arguments),
      ['keep [masked]', 'my [masked] é', '{"q":"[masked]"}', 'it is [masked]']);
    assert.deepEqual([body.seed, body.tools], [7, tools]);
    await anthropic.messages.create({ model: 'clean', max_tokens: 9, messages: [{ role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'SECRET' }] }] });
    assert.equal(upstream.seen.requests.at(-1).body.messages[0].content[0].content, '[masked]');
  });

  await test('prompts: what cannot be read with certainty is refused', async () => {
    const before = sent();
    const post = async (body) => (await fetch(`${proxy.url}/v1/chat/completions`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })).json();
    assert.equal((await post('{"model":"clean","messages":[{"role":"user","content":"BOMB","content":"x"}]}')).error.code, 'prompt_not_judged');
    assert.equal((await post('{"model":')).error.code, 'prompt_not_judged');
    await assert.rejects(openai.completions.create({ model: 'clean', prompt: [1, 2, 3] }), (e) => e.code === 'prompt_not_judged' && /token ids/.test(e.message));
    assert.equal(sent(), before);
  });

  await test('routes: one in shadow changes nothing, and says what it would have done', async () => {
    const [watched] = clients(proxy, { 'x-watched': 'yes' });
    const answer = await watched.chat.completions.create({ model: 'stopped', messages: [{ role: 'user', content: 'a SECRET BOMB' }] });
    assert.deepEqual([answer.choices[0].message.content, answer.choices[0].finish_reason], ['first the BOMB is made', 'stop']);
    assert.equal(upstream.seen.requests.at(-1).body.messages[0].content, 'a SECRET BOMB');
    const metrics = await (await fetch(`${proxy.url}/metrics`)).text();
    assert.match(metrics, /sluice_shadow_verdicts_total\{category="s",action="stop"\} 2\n/);
    assert.match(metrics, /sluice_mode_exposed_bytes_total\{category="s",mode="shadow"\} 8\n/);
    assert.match(metrics, /sluice_prompts_blocked_total 8\n/);
  });

  await proxy.stop();
  await polite.stop();
  assert.match(proxy.log(), /outcome=blocked rule=stop category=s /);
}
