#!/usr/bin/env python3
"""PyTorch beside bench_cuda: a plain decoder of one of its shapes, bf16, compiled with CUDA graphs and a static cache.

  tests/bench/torch_bench.py -m .../llama3.2-1b-F16.gguf -p 4096 -n 64 -r 3 -o json

Takes llama-bench's options and prints its JSON; of the file only the name is used, which says the shape. Weights are
random, decoding is greedy on the device. Needs torch with CUDA."""
import argparse, json, os, time
import torch
import torch.nn.functional as F

SHAPES = {  # layers, width, heads, kv heads, head, ffn, vocabulary
    "qwen2.5-0.5b": (24, 896, 14, 2, 64, 4864, 151936),
    "llama3.2-1b": (16, 2048, 32, 8, 64, 8192, 128256),
    "llama2-7b": (32, 4096, 32, 32, 128, 11008, 32000),
}


class Decoder(torch.nn.Module):
    def __init__(self, shape, room):
        super().__init__()
        layers, d, self.heads, self.kv, self.head, ffn, vocab = shape
        make = lambda rows, cols: torch.nn.Parameter(torch.randn(rows, cols) * 0.02, requires_grad=False)
        both = (self.heads + 2 * self.kv) * self.head
        self.embedding = make(vocab, d)
        self.output = make(vocab, d)
        self.layers = torch.nn.ParameterList()
        for _ in range(layers):
            for rows, cols in ((both, d), (d, self.heads * self.head), (2 * ffn, d), (d, ffn)):
                self.layers.append(make(rows, cols))
        half = torch.arange(self.head // 2).float()
        angle = torch.arange(room).float()[:, None] * 10000.0 ** (-half / (self.head // 2))[None]
        self.register_buffer("cos", angle.cos())
        self.register_buffer("sin", angle.sin())
        self.register_buffer("cache", torch.zeros(layers, 2, self.kv, room, self.head))

    def rotate(self, x, at):
        a, b = x.chunk(2, -1)
        cos, sin = self.cos[at], self.sin[at]
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)

    def forward(self, ids, at, mask):
        x = self.embedding[ids]
        n = ids.shape[0]
        for l in range(len(self.layers) // 4):
            qkv, o, up, down = (self.layers[4 * l + i] for i in range(4))
            y = F.linear(F.rms_norm(x, x.shape[-1:]), qkv).view(n, -1, self.head).transpose(0, 1)
            q, k, v = y.split((self.heads, self.kv, self.kv))
            self.cache[l, 0, :, at] = self.rotate(k, at)
            self.cache[l, 1, :, at] = v
            keys, values = self.cache[l].unbind(0)
            if mask is None:
                keys, values = keys[:, :n], values[:, :n]
            y = F.scaled_dot_product_attention(self.rotate(q, at)[None], keys[None], values[None], attn_mask=mask,
                                               is_causal=mask is None, enable_gqa=self.heads != self.kv)
            x = x + F.linear(y[0].transpose(0, 1).reshape(n, -1), o)
            gate, up = F.linear(F.rms_norm(x, x.shape[-1:]), up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(F.rms_norm(x[-1:], x.shape[-1:]), self.output).argmax(-1)


def seconds(run):
    torch.cuda.synchronize()
    start = time.monotonic()
    run()
    torch.cuda.synchronize()
    return time.monotonic() - start


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-m")
    p.add_argument("-p", type=int, default=4096)
    p.add_argument("-n", type=int, default=64)
    p.add_argument("-r", type=int, default=3)
    p.add_argument("-o")
    p.add_argument("-ngl")
    a = p.parse_args()
    shape = SHAPES[os.path.basename(a.m).rsplit("-", 1)[0]]
    torch.manual_seed(1)
    torch.set_grad_enabled(False)
    with torch.device("cuda"):
        torch.set_default_dtype(torch.bfloat16)
        model, prompt_model = Decoder(shape, 128), Decoder(shape, a.p)
        room = torch.arange(128)
        ids = torch.arange(a.p) * 7919 % shape[-1]
        everywhere = torch.arange(a.p)
    step = torch.compile(model, mode="reduce-overhead", fullgraph=True)
    chunk = torch.compile(prompt_model)

    def decode():
        id, at = ids[:1], torch.zeros(1, dtype=torch.long, device="cuda")
        for _ in range(a.n):
            torch.compiler.cudagraph_mark_step_begin()
            id = step(id, at, (room <= at)[None]).clone()
            at = at + 1

    prefill = lambda: chunk(ids, everywhere, None)
    decode(), decode(), prefill(), prefill()
    mean = lambda tokens, run: sum(tokens / seconds(run) for _ in range(a.r)) / a.r
    print(json.dumps([{"n_prompt": a.p, "n_gen": 0, "avg_ts": mean(a.p, prefill)},
                      {"n_prompt": 0, "n_gen": a.n, "avg_ts": mean(a.n, decode)}]))


main()
