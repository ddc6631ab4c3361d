// Pages in a real browser: of the proxy's own origin, and of another one, which may read only what CORS lets it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';

export function browser({ upstream, work }) {
  return async (url) => {
    const result = upstream.nextResult();
    const page = spawn(process.env.CHROME, ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
      '--disable-background-networking', '--disable-component-update', '--disable-sync', `--user-data-dir=${mkdtempSync(join(work, 'profile-'))}`,
      '--remote-debugging-port=0', url], { stdio: 'ignore' });
    const gone = new Promise((go) => page.on('exit', go));
    try {
      return await Promise.race([result, new Promise((_, fail) => setTimeout(() => fail(new Error('no result in 60 s')), 60000).unref())]);
    } finally {
      page.kill('SIGKILL');
      await gone;
    }
  };
}

const rules = [
  { id: 'mask', category: 'm', action: 'mask', pattern: 'SECRET', on: ['prompt', 'answer'] },
  { id: 'stop', category: 's', action: 'stop', pattern: 'BOMB', on: ['prompt', 'answer'] },
];
const chat = (proxy, content, model = 'chat_clean') => ({
  url: `${proxy.url}/v1/chat/completions`, body: { model, stream: true, messages: [{ role: 'user', content }] },
});

export async function testPages({ test, startProxy, upstream, browse }) {
  const at = (origin, asks) => browse(`${origin}/elsewhere#${encodeURIComponent(JSON.stringify(asks))}`);
  const plain = await startProxy(upstream.url, { rules });
  const polite = await startProxy(upstream.url, { rules }, '--blocked', 'refusal');
  const named = await startProxy(upstream.url, { rules }, '--cors', upstream.url);
  const alone = await startProxy('http://127.0.0.1:1', { rules }, '--cors', upstream.url);
  const words = "this request was blocked by the server's content policy";

  await test('a browser: a page of another origin reads why it was refused', async () => {
    const [blocked, unjudged, refusal, unsaid] = await at(upstream.url, [chat(plain, 'a BOMB'), { url: `${plain.url}/v1/complete`, body: {} },
      chat(polite, 'a BOMB'), chat(plain, 'hello')]);
    assert.deepEqual([blocked.status, JSON.parse(blocked.text ?? '{}').error?.code], [400, 'content_filter'], JSON.stringify(blocked));
    assert.deepEqual([unjudged.status, JSON.parse(unjudged.text ?? '{}').error?.code], [501, 'answer_not_judged']);
    assert.equal(refusal.status, 200);
    assert.ok(refusal.text.includes(words));
    assert.equal(unsaid.error, 'TypeError'); // this upstream says in its preflight alone that pages may read it
  });
  await test('a browser: with --cors a named page reads everything, with credentials too', async () => {
    const asks = [chat(named, 'hello'), chat(named, 'a BOMB'), chat(named, 'x', 'failing'), chat(alone, 'hello')];
    const seen = await at(upstream.url, [...asks, ...asks.map((a) => ({ ...a, credentials: 'include' }))]);
    assert.deepEqual(seen.map((s) => s.status), [200, 400, 429, 502, 200, 400, 429, 502], JSON.stringify(seen));
    for (const [clean, blocked, slow, failed] of [seen.slice(0, 4), seen.slice(4)]) {
      assert.ok(clean.text.endsWith('data: [DONE]\n\n'));
      assert.equal(JSON.parse(blocked.text).error.code, 'content_filter');
      assert.equal(slow.id, 'r1');
      assert.equal(JSON.parse(failed.text).error.code, 'upstream_error');
    }
  });
  await test('a browser: a page that is not named reads nothing', async () => {
    const seen = await at(upstream.url.replace('127.0.0.1', 'localhost'), [chat(named, 'hello'), chat(named, 'a BOMB')]);
    assert.deepEqual(seen, [{ error: 'TypeError' }, { error: 'TypeError' }]);
  });
  for (const p of [plain, polite, named, alone]) await p.stop();
}
