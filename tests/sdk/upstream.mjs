// A scripted model server. The request's "model" names the answer: a stream of tests/streams, or a whole body made here.
import { createServer } from 'node:http';
import { existsSync, readFileSync } from 'node:fs';

const streams = new URL('../streams/', import.meta.url);

// What a reader of the masked, stopped and clean answers should see, for all four interfaces.
const texts = { clean: 'nothing to see', masked: 'my SECRET is safe', stopped: 'first the BOMB is made' };
const call = '{"q":"SECRET"}';
const bodies = {
  '/v1/chat/completions': (text, kind) => ({
    id: 'c1', object: 'chat.completion', created: 1735689600, model: kind, system_fingerprint: 'fp_1',
    choices: [{
      index: 0, finish_reason: kind === 'tools' ? 'tool_calls' : 'stop', logprobs: null,
      message: kind === 'tools'
        ? { role: 'assistant', content: null, refusal: null, tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'look_up', arguments: call } }] }
        : { role: 'assistant', content: text, refusal: null },
    }],
    usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
  }),
  '/v1/completions': (text, kind) => ({
    id: 'c1', object: 'text_completion', created: 1735689600, model: kind,
    choices: [{ index: 0, text: text ?? call, logprobs: null, finish_reason: 'stop' }],
    usage: { prompt_tokens: 3, completion_tokens: 4, total_tokens: 7 },
  }),
  '/v1/messages': (text, kind) => ({
    id: 'm1', type: 'message', role: 'assistant', model: kind,
    content: kind === 'tools' ? [{ type: 'tool_use', id: 'toolu_1', name: 'look_up', input: JSON.parse(call) }] : [{ type: 'text', text }],
    stop_reason: kind === 'tools' ? 'tool_use' : 'end_turn', stop_sequence: null, usage: { input_tokens: 3, output_tokens: 4 },
  }),
  '/v1/responses': (text, kind) => ({
    id: 'r1', object: 'response', created_at: 1735689600, status: 'completed', error: null, incomplete_details: null, model: kind,
    output: kind === 'tools'
      ? [{ type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'look_up', arguments: call, status: 'completed' }]
      : [{ type: 'message', id: 'i1', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text, annotations: [] }] }],
    usage: { input_tokens: 3, output_tokens: 4, total_tokens: 7 },
  }),
};

const page = `<!doctype html><meta charset="utf-8"><title>fetch</title><script>
async function read(path, model) {
  const answer = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model, stream: true, messages: [{ role: 'user', content: 'hello' }] }) });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '', pieces = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return { status: answer.status, type: answer.headers.get('content-type'), text, pieces };
    text += value;
    pieces++;
  }
}
(async () => {
  const seen = {};
  try {
    for (const model of ['chat_clean', 'chat_masked', 'chat_stopped']) seen[model] = await read('/v1/chat/completions', model);
    for (const model of ['messages_masked', 'messages_stopped']) seen[model] = await read('/v1/messages', model);
  } catch (e) { seen.error = String(e); }
  await fetch('/result', { method: 'POST', body: JSON.stringify(seen) });
})();
</script>`;

// A page that asks a server of another origin, as its address says: what came of each request, or why nothing did.
const elsewhere = `<!doctype html><meta charset="utf-8"><title>fetch from elsewhere</title><script>
(async () => {
  const seen = [];
  for (const ask of JSON.parse(decodeURIComponent(location.hash.slice(1)))) {
    try {
      const answer = await fetch(ask.url, { method: 'POST', credentials: ask.credentials ?? 'same-origin', body: JSON.stringify(ask.body),
        headers: { 'content-type': 'application/json', authorization: 'Bearer k' } });
      seen.push({ status: answer.status, text: await answer.text(), id: answer.headers.get('x-request-id') });
    } catch (e) { seen.push({ error: e.name }); }
  }
  await fetch('/result', { method: 'POST', body: JSON.stringify(seen) });
})();
</script>`;

function say(answer, status, type, body) {
  answer.writeHead(status, { 'content-type': type, 'x-request-id': 'r1' });
  answer.end(body);
}

async function play(answer, bytes) { // in pieces that respect nothing
  answer.writeHead(200, { 'content-type': 'text/event-stream' });
  for (let at = 0; at < bytes.length; at += 53) {
    if (!answer.write(bytes.subarray(at, at + 53))) await new Promise((go) => answer.once('drain', go));
    if (at % 371 === 0) await new Promise((go) => setTimeout(go, 1));
  }
  answer.end();
}

export async function startUpstream() {
  const seen = { requests: [], result: () => {} };
  const nextResult = () => new Promise((done) => { seen.result = done; });
  const server = createServer((request, answer) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => {
      const text = Buffer.concat(parts).toString();
      if (request.url === '/page') return say(answer, 200, 'text/html', page);
      if (request.url === '/result') return seen.result(JSON.parse(text)), say(answer, 200, 'text/plain', 'ok');
      if (request.url === '/elsewhere') return say(answer, 200, 'text/html', elsewhere);
      if (request.method === 'OPTIONS') { // as vLLM's server answers
        answer.writeHead(200, { 'access-control-allow-origin': '*', 'access-control-allow-methods': '*', 'access-control-allow-headers': 'authorization, content-type' });
        return answer.end();
      }
      if (request.method !== 'POST') return say(answer, 404, 'text/plain', 'nothing here');
      const body = JSON.parse(text);
      seen.requests.push({ url: request.url, body });
      const file = new URL(`${body.model}.sse`, streams);
      if (body.model === 'failing')
        return say(answer, 429, 'application/json', JSON.stringify(request.url === '/v1/messages'
          ? { type: 'error', error: { type: 'rate_limit_error', message: 'slow down' } }
          : { error: { message: 'slow down', type: 'rate_limit', code: 'rate_limit_exceeded' } }));
      if (body.model === 'breaking') {
        answer.writeHead(200, { 'content-type': 'text/event-stream' });
        answer.write(readFileSync(new URL(`${body.metadata?.like ?? 'chat_clean'}.sse`, streams)).subarray(0, 700));
        return void setTimeout(() => answer.destroy(), 50);
      }
      if (body.stream && existsSync(file)) return void play(answer, readFileSync(file));
      say(answer, 200, 'application/json', JSON.stringify(bodies[request.url](texts[body.model], body.model)));
    });
  });
  await new Promise((go) => server.listen(0, '127.0.0.1', go));
  return { url: `http://127.0.0.1:${server.address().port}`, seen, nextResult, close: () => { server.closeAllConnections(); server.close(); } };
}
