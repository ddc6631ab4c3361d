#!/usr/bin/env python3
"""Compares the engine with Hugging Face transformers, layer by layer, on random weights; makes CI's golden vectors.

  tests/parity/compare.py --dump build/tests/parity/dump_states --out DIR [--model NAME=FOLDER]... [--small] [CASE...]

Needs torch and transformers (written for 2.11 and 5.17). For each case it builds a model of the family, saves it as
transformers saves models, has dump_states read the folder as it is, and prints relative L2 errors against transformers
run in float64: the worst layer, and the logits, of the whole text at once and token by token. "as it is" counts what
transformers computes in float32 even then (the norms, the angles); the others have these three in float64 too. Limits:
float32 at most 1e-5; bfloat16 at most 1.2 times the error of transformers' own bfloat16 run. --model NAME=FOLDER adds the
greedy tokens of a trained model, 256 steps.

Tiny cases take their weights from `generated`, which tests/conformance/test_parity.c repeats, so that only the outputs
need to be kept: OUT/golden/CASE.bin, laid out as dump_states lays out its own."""
import argparse, json, os, shutil, subprocess, sys, time, traceback
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, __version__ as transformers_version

LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)


def rope(theta, **more):
    return dict(dict(rope_type="default", rope_theta=float(theta)), **more)


def tiny(kind, **more):
    base = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=64,
                max_position_embeddings=128, bos_token_id=1, eos_token_id=2)
    if kind != "gpt_neox":
        base.update(num_key_value_heads=2, rope_parameters=rope(10000))
    else:
        base.update(rope_parameters=rope(10000, partial_rotary_factor=0.25))
    base.update(more)
    return kind, base


TINY = {
    "llama": tiny("llama"),
    "llama3": tiny("llama", rope_parameters=rope(500000, original_max_position_embeddings=16, **LLAMA3)),
    "llama-linear": tiny("llama", rope_parameters=rope(10000, rope_type="linear", factor=4.0)),
    "llama-bias": tiny("llama", attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "mistral": tiny("mistral", sliding_window=6),
    "qwen2": tiny("qwen2", tie_word_embeddings=True),
    "qwen2-window": tiny("qwen2", use_sliding_window=True, sliding_window=5, max_window_layers=1),
    "qwen3": tiny("qwen3", head_dim=16),
    "gpt_neox": tiny("gpt_neox", num_attention_heads=2),
    "gpt_neox-serial": tiny("gpt_neox", use_parallel_residual=False),
}


def real(kind, d, ff, heads, kv, layers, **more):
    base = dict(hidden_size=d, intermediate_size=ff, num_hidden_layers=layers, num_attention_heads=heads,
                vocab_size=8192, max_position_embeddings=8192, bos_token_id=1, eos_token_id=2)
    if kv:
        base["num_key_value_heads"] = kv
    base.update(more)
    return kind, base


# Full widths; fewer layers and a smaller vocabulary, so that a case takes seconds.
REAL = {
    "Llama-2-7B": real("llama", 4096, 11008, 32, 32, 2, rope_parameters=rope(10000), rms_norm_eps=1e-5),
    "Llama-3.1-8B": real("llama", 4096, 14336, 32, 8, 2, rms_norm_eps=1e-5,
                         rope_parameters=rope(500000, original_max_position_embeddings=8192, **LLAMA3)),
    "Llama-3.2-1B": real("llama", 2048, 8192, 32, 8, 4, rms_norm_eps=1e-5, tie_word_embeddings=True, head_dim=64,
                         rope_parameters=rope(500000, **dict(LLAMA3, factor=32.0, original_max_position_embeddings=8192))),
    "Mistral-7B": real("mistral", 4096, 14336, 32, 8, 2, sliding_window=64, rope_parameters=rope(10000)),
    "Qwen2.5-0.5B": real("qwen2", 896, 4864, 14, 2, 4, tie_word_embeddings=True, rope_parameters=rope(1000000)),
    "Qwen2.5-7B": real("qwen2", 3584, 18944, 28, 4, 2, rope_parameters=rope(1000000)),
    "Qwen3-0.6B": real("qwen3", 1024, 3072, 16, 8, 4, head_dim=128, tie_word_embeddings=True,
                       rope_parameters=rope(1000000)),
    "Qwen3-8B": real("qwen3", 4096, 12288, 32, 8, 2, head_dim=128, rope_parameters=rope(1000000)),
    "Pythia-70M": real("gpt_neox", 512, 2048, 8, 0, 4, rope_parameters=rope(10000, partial_rotary_factor=0.25)),
    "Pythia-1B": real("gpt_neox", 2048, 8192, 8, 0, 4, rope_parameters=rope(10000, partial_rotary_factor=0.25)),
}


def generated(name, shape):
    """Values that tests/conformance/test_parity.c makes too: FNV-1a of the tensor's name, splitmix64, 24 bits."""
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = (h ^ b) * 0x100000001B3 % 2**64
    n = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(h) + (np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    u = (z >> np.uint64(40)).astype(np.float64) / 2**24 - 0.5
    if len(shape) == 1 and not name.endswith(".bias"):
        u = 1 + u / 2
    elif "embed_tokens" in name or "embed_in" in name:
        u = u * 2
    return torch.from_numpy(u.astype(np.float32).reshape(shape))


def ids_of(n, vocab):
    return [(7 * i * i + 3 * i + 1) % vocab for i in range(n)]


def fill(model, is_tiny, seed):
    g = torch.Generator(device="cpu").manual_seed(seed)
    done = set()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.data_ptr() in done:
                continue
            done.add(p.data_ptr())
            if is_tiny:
                p.copy_(generated(name, tuple(p.shape)))
            elif p.dim() > 1:
                p.normal_(0, 0.02)
            else:
                noise = 0.1 * torch.randn(p.shape, generator=g)
                p.copy_(noise if name.endswith(".bias") else 1 + noise)


def inner(model):
    return model.gpt_neox if hasattr(model, "gpt_neox") else model.model


class InFloat64:
    """The three things that transformers keeps in float32 whatever the model's type, in float64."""

    def __init__(self, model):
        self.undo = []
        for m in model.modules():
            if type(m).__name__.endswith("RMSNorm"):
                self.patch(m, lambda x, m=m: m.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True)
                                                                       + m.variance_epsilon)))
        rotary = inner(model).rotary_emb
        config = model.config
        p = dict(config.rope_parameters)
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        dim = int(head * p.get("partial_rotary_factor", 1.0))
        inv = p["rope_theta"] ** (-torch.arange(0, dim, 2, dtype=torch.float64) / dim)
        if p["rope_type"] == "linear":
            inv = inv / p["factor"]
        if p["rope_type"] == "llama3":
            low, high, old = p["low_freq_factor"], p["high_freq_factor"], p["original_max_position_embeddings"]
            waves = old * inv / (2 * np.pi)
            smooth = (waves - low) / (high - low)
            inv = torch.where(waves < low, inv / p["factor"],
                              torch.where(waves > high, inv, (1 - smooth) * inv / p["factor"] + smooth * inv))
        inv = inv.to(inner(model).get_input_embeddings().weight.device)

        def angles(x, position_ids, *rest, **more):
            a = position_ids[..., None].double() * inv
            a = torch.cat((a, a), dim=-1)
            return a.cos().to(x.dtype), a.sin().to(x.dtype)

        self.patch(rotary, angles)

    def patch(self, module, fn):
        self.undo.append(module)
        module.forward = fn

    def close(self):
        for m in self.undo:
            del m.forward


def states(model, ids):
    """float64 arrays: [layers + 1][tokens][width], [tokens][vocab]."""
    kept = []
    hooks = [layer.register_forward_hook(lambda m, i, o: kept.append((o[0] if isinstance(o, tuple) else o)[0].detach()))
             for layer in inner(model).layers]
    device = next(model.parameters()).device
    with torch.no_grad():
        x = torch.tensor([ids], device=device)
        embedded = model.get_input_embeddings()(x)[0]
        logits = model(x, use_cache=False).logits[0]
    for h in hooks:
        h.remove()
    all_states = torch.stack([embedded] + kept).double().cpu().numpy()
    return all_states, logits.double().cpu().numpy()


def ours(args, folder, ids, greedy=0, kernel=""):
    text, out = os.path.join(args.out, "ids"), os.path.join(args.out, "dump.bin")
    with open(text, "w") as f:
        f.write(" ".join(map(str, ids)))
    subprocess.run([args.dump, folder, text, out, str(greedy), kernel, str(args.threads),
                    args.engine_device], check=True)
    with open(out, "rb") as f:
        layers, n, d, vocab = np.fromfile(f, np.int32, 4)
        s = np.fromfile(f, np.float32, (layers + 1) * n * d).reshape(layers + 1, n, d).astype(np.float64)
        l = np.fromfile(f, np.float32, n * vocab).reshape(n, vocab).astype(np.float64)
        following = np.fromfile(f, np.int32, greedy)
        steps = np.fromfile(f, np.float32, n * vocab).reshape(n, vocab).astype(np.float64)
    os.remove(out)
    return s, l, following, steps


def error(got, want):
    """(worst layer, logits), relative L2; the embeddings are layer 0."""
    layers = [np.linalg.norm(g - w) / np.linalg.norm(w) for g, w in zip(got[0], want[0])]
    return float(max(layers)), float(np.linalg.norm(got[1] - want[1]) / np.linalg.norm(want[1]))


def write_golden(args, name, config, want):
    os.makedirs(os.path.join(args.out, "golden"), exist_ok=True)
    s, l = want
    with open(os.path.join(args.out, "golden", name + ".bin"), "wb") as f:
        np.array([s.shape[0] - 1, s.shape[1], s.shape[2], l.shape[1]], np.int32).tofile(f)
        s.astype(np.float32).tofile(f)
        l.astype(np.float32).tofile(f)
    with open(os.path.join(args.out, "golden", name + ".json"), "w") as f:
        f.write(config)


def load(folder, dtype, device):
    """As anyone would; RoPE's frequencies stay float32, which a later .to(bfloat16) would round."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    return model.to(device).eval()


def compare(args, name, kind, members, n, is_tiny):
    torch.manual_seed(len(name))
    device = "cpu" if is_tiny else args.device
    config = AutoConfig.for_model(kind, **members)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fill(model, is_tiny, 1)
    ids = ids_of(n, config.vocab_size)
    row = {"case": name, "tokens": n}
    for dtype in ("float32", "bfloat16"):
        folder = os.path.join(args.out, "model")
        model.to(getattr(torch, dtype)).save_pretrained(folder)
        own = states(load(folder, getattr(torch, dtype), device), ids)
        exact_model = load(folder, torch.float64, device)
        as_it_is = states(exact_model, ids)
        patch = InFloat64(exact_model)
        exact = states(exact_model, ids)
        patch.close()
        del exact_model
        got = ours(args, folder, ids)
        row[dtype] = {"ours": error(got, exact), "by one": error((got[0], got[3]), exact)[1], "ours, as it is": error(got, as_it_is),
                      "transformers": error(own, exact), "as it is": error(as_it_is, exact)}
        if is_tiny and dtype == "float32":
            write_golden(args, name, open(os.path.join(folder, "config.json")).read(), exact)
        shutil.rmtree(folder)
    a, b = row["float32"], row["bfloat16"]
    ratio = max(b["ours"][i] / b["transformers"][i] for i in (0, 1))
    by_one = b["by one"] / b["transformers"][1]
    row["ratio"], row["ratio by one"] = float(ratio), float(by_one)
    row["good"] = bool(max(*a["ours"], a["by one"]) <= 1e-5 and max(ratio, by_one) <= 1.2)
    return row


def greedy(args, name, folder, steps=256):
    """Both follow the same ids; transformers in float64, token by token with its cache."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64).eval()
    start = [0, 5, 9, 20, 30, 44] if model.config.vocab_size > 44 else [1]
    patch = InFloat64(model)
    ids, cache, x = [], None, torch.tensor([start])
    gap = float("inf")
    with torch.no_grad():
        for _ in range(steps):
            out = model(x, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            top = out.logits[0, -1].topk(2)
            gap = min(gap, float(top.values[0] - top.values[1]))
            ids.append(int(top.indices[0]))
            x = torch.tensor([[ids[-1]]])
    patch.close()
    got = list(map(int, ours(args, folder, start, steps)[2]))
    with open(os.path.join(args.out, "golden", "greedy-%s.txt" % name), "w") as f:
        f.write(" ".join(map(str, start)) + "\n" + " ".join(map(str, ids)) + "\n")
    same = next((i for i in range(steps) if got[i] != ids[i]), steps)
    print("%s greedy %s: %d of %d tokens the same; the smallest gap of two logits %.2g"
          % ("ok  " if same == steps else "FAIL", name, same, steps, gap))
    return same == steps


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--dump", required=True)
    p.add_argument("--out", required=True)
    p.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER")
    p.add_argument("--small", action="store_true", help="the tiny cases alone")
    p.add_argument("--engine-device", default="cpu", help="where the engine computes: cpu or cuda")
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--tokens", type=int, default=128, help="of a real-sized case")
    p.add_argument("case", nargs="*")
    args = p.parse_args()
    os.makedirs(os.path.join(args.out, "golden"), exist_ok=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    cases = [(n, c, 24, True) for n, c in TINY.items()]
    if not args.small:
        cases += [(n, c, args.tokens, False) for n, c in REAL.items()]
    print("torch %s, transformers %s, %s" % (torch.__version__, transformers_version, args.device))
    print("     %-16s %6s | float32: worst layer, logits | transformers float32 | as it is | bfloat16 ours | "
          "transformers | ratio | token by token: float32, ratio | s" % ("case", "tokens"))
    rows, good = [], True
    for name, (kind, members), n, is_tiny in cases:
        if args.case and name not in args.case:
            continue
        begun = time.time()
        try:
            r = compare(args, name, kind, members, n, is_tiny)
        except Exception:
            traceback.print_exc()
            print("FAIL %s" % name)
            good = False
            continue
        rows.append(r)
        good = good and r["good"]
        a, b = r["float32"], r["bfloat16"]
        print("%s %-16s %6d | %.1e %.1e | %.1e %.1e | %.1e %.1e | %.1e %.1e | %.1e %.1e | %.2f | %.1e %.2f | %.1f"
              % ("ok  " if r["good"] else "FAIL", name, n, *a["ours"], *a["transformers"], *a["as it is"], *b["ours"],
                 *b["transformers"], r["ratio"], a["by one"], r["ratio by one"], time.time() - begun), flush=True)
    for m in args.model:
        name, folder = m.split("=", 1)
        try:
            good = greedy(args, name, folder) and good
        except Exception:
            traceback.print_exc()
            print("FAIL greedy %s" % name)
            good = False
    with open(os.path.join(args.out, "parity.json"), "w") as f:
        json.dump({"torch": torch.__version__, "transformers": transformers_version, "rows": rows}, f, indent=1)
    sys.exit(0 if good else 1)


main()
