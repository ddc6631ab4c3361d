/* What the files of the CUDA inference back end share. Private to engine/cuda.
 *
 * Where a decode step is not one launch (token.cuh) it is one CUDA graph: a copy of a few hundred bytes that say what
 * the step is, the kernels, a copy back. All of its inputs lie at fixed places, so that one graph serves every
 * session of a back end. Kernels read what the kernel before them wrote past the L1 cache (__ldcg): with programmatic
 * launches they begin while that one still runs, and fetch their weights meanwhile. Every sum has a fixed order (no
 * atomics), so that a run repeats bit for bit. */
#ifndef SLUICE_ENGINE_CUDA_INFERENCE_CUH
#define SLUICE_ENGINE_CUDA_INFERENCE_CUH

extern "C" {
#include "engine/backend.h"
}

#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

typedef __nv_bfloat16 bf16;

/* ---- shapes ---- */
enum { WIDTH_STEP = 32, GROUP = 32 }; /* rows of matrices and vectors are padded with zeros to this many elements */
static inline int padded(int n) {
  return (n + WIDTH_STEP - 1) / WIDTH_STEP * WIDTH_STEP;
}

enum matrix_kind { MATRIX_F32, MATRIX_F16, MATRIX_BF16, MATRIX_INT8 };
struct matrix { /* [rows][ld], cols of each row used, zeros behind them */
  const void *data;
  const __half *scale; /* MATRIX_INT8: [rows][scale_ld], one a GROUP */
  enum matrix_kind kind;
  int rows, cols, ld, scale_ld;
};
/* Rows of scales begin at multiples of 16 bytes, so that the copy engine can bring them. */
static inline int scale_ld_of(int ld) {
  return (ld / GROUP + 7) / 8 * 8;
}

struct norm { /* gain NULL: none */
  const float *gain, *bias; /* [padded]; a bias makes it a LayerNorm, without one it is an RMSNorm */
  float eps;
};

struct device_layer {
  struct norm attn_norm, ffn_norm;
  const float *qkv_bias, *o_bias, *ffn_bias, *down_bias; /* [rows of the matrix]; NULL: none */
  const float *q_norm, *k_norm;                          /* [head_dim]; NULL: none */
  struct matrix qkv, o, ffn, down;                       /* rows of q, k and v; rows of gate and up, or of up alone */
};

/* What a model's sessions share on the device; struct model owns it. */
struct device_weights {
  struct device_weights *next; /* the same model, kept in another way */
  enum matrix_kind kind;       /* MATRIX_INT8, or the type of all matrices */
  enum matrix_kind low;        /* the type of activations between matrix products, and of the cache: kind, or BF16 */
  bool quantised;              /* made int8 here, not by the file */
  struct device_layer *layers; /* [n_layers], on the host */
  struct matrix embedding, head;
  struct norm final_norm;
  double *frequency; /* [head_dim / 2], on the device */
  int *order;        /* [head_dim], on the device: engine/cpu/rope.h's rope_head_order; NULL: as it is */
  void *memory;      /* owns all of the above */
  size_t bytes, gpu_free, gpu_total;
};
/* Shared by every session of a model; form: NULL or "int8". */
sluice_status weights_on_device(const struct model *m, const char *form, const struct device_weights **out,
                                struct sluice_error *err);
/* SLUICE_NOMEM with the arithmetic when `bytes` do not fit beside what is there; 1/64 of the memory stays free. */
sluice_status device_room(size_t bytes, const char *what, struct sluice_error *err);
sluice_status cuda_status(cudaError_t e, const char *what, struct sluice_error *err);

/* One query: a token, what it sees and where that lies. Everything a step's kernels need to know about it. */
struct query_item {
  unsigned char *kv;                  /* block 0 of its store */
  const uint32_t *born, *dead;        /* [slots]: a slot is seen when born <= time < dead */
  const uint64_t *at;                 /* [slots] true positions */
  const uint32_t *index;              /* [slots] cache positions; NULL: keys lie rotated at their true positions */
  uint64_t position;                  /* at which its key is rotated */
  uint64_t query_position[SEGMENTS_MAX];
  uint32_t first[SEGMENTS_MAX], end[SEGMENTS_MAX];
  uint32_t slot, time;
  int32_t id;
  int32_t unused;
};

struct slot_change { /* a slot came or went */
  uint32_t *born, *dead; /* arrays of the store */
  uint64_t *at;
  uint64_t position;
  uint32_t slot, born_at, dead_at, unused;
};

/* How a store's blocks look: [layer][key | value][kv head][SLOT_BLOCK][width]. */
struct kv_shape {
  int n_layers, n_kv_heads, head_dim, width; /* width: head_dim padded to what kernels take */
  size_t element, block_bytes;
};
__host__ __device__ static inline size_t kv_plane_bytes(const struct kv_shape &s) {
  return static_cast<size_t>(SLOT_BLOCK) * s.width * s.element;
}
/* Bytes from a block's start to the keys (what 0) or values (what 1) of a layer and head. */
__host__ __device__ static inline size_t kv_offset(const struct kv_shape &s, int layer, int what, int head) {
  return ((static_cast<size_t>(layer) * 2 + what) * s.n_kv_heads + head) * kv_plane_bytes(s);
}

/* ---- launching ---- */
struct launcher {
  cudaStream_t stream;
  bool overlap;      /* programmatic launches: a kernel may begin before the one ahead of it has ended */
  int processors;    /* multiprocessors of the device */
  int slots;         /* of the ring of each warp in a matrix-vector product */
  int blocks_each;   /* blocks of a matrix-vector product on each multiprocessor */
};

template <class... P, class... A>
static inline cudaError_t launch(const struct launcher &l, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                                 A... args) {
  cudaLaunchConfig_t c = {};
  cudaLaunchAttribute attribute = {};
  c.gridDim = grid;
  c.blockDim = block;
  c.dynamicSmemBytes = shared;
  c.stream = l.stream;
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  c.attrs = &attribute;
  c.numAttrs = l.overlap ? 1 : 0;
  return cudaLaunchKernelEx(&c, kernel, static_cast<P>(args)...);
}

#ifdef __CUDACC__
/* Nothing that the kernel ahead wrote may be read, and nothing written, before this. */
__device__ static inline void wait_for_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
/* The next kernel may take free multiprocessors from here on. */
__device__ static inline void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
#endif

/* ---- gemv.cu: y = W x for one token ---- */
enum gemv_mode {
  GEMV_ROWS,  /* y = */
  GEMV_ADD,   /* y += */
  GEMV_ACT,   /* y = activation */
  GEMV_GATED, /* y[r] = activation(row r) * row (r + rows / 2) */
};
struct gemv {
  struct matrix w;
  const float *x; /* [ld] */
  struct norm norm;
  enum activation activation;
  const float *bias; /* [rows], or NULL */
  float *y;
  float *hidden[2]; /* [ld] take the normalised x; or NULL */
};
cudaError_t gemv_launch(const struct launcher &l, enum gemv_mode mode, const struct gemv &g);

/* ---- attend.cu: attention of few queries over any kept segments ---- */
struct attend {
  const struct query_item *items; /* [n] on the device */
  const float2 *angles;           /* [n][SEGMENTS_MAX + 1][half]: of each segment's query, then of the key */
  const void *qkv;                /* [n][qkv_width] as the projection gave it: float, or low */
  const float *q_norm, *k_norm;
  const int *order;
  float eps, scale; /* scale: of scores */
  const float *bias; /* [qkv_width]: added here when the projection did not */
  void *out;         /* [n][out_width] float, or low */
  float *part;       /* [n][heads][splits][width + 2] */
  unsigned *arrived; /* [n][kv heads], zero before and after */
  const void *keys;  /* [kv head][slots][width] rotated by index for one epoch; NULL: the store's */
  struct kv_shape kv;
  int n, layer, n_heads, n_segments, splits;
  uint64_t window; /* of this layer; 0: none */
  int qkv_width, out_width;
  size_t key_plane; /* bytes of one head in `keys` */
  bool low;         /* qkv and out are of the store's type, not float */
  bool half_type;   /* a store of 2 bytes an element holds f16, not bf16 */
  bool store;       /* the newest key and value are put in the store here */
};
int attend_splits(const struct launcher &l, uint32_t slots, int n, int n_kv_heads);
cudaError_t attend_launch(const struct launcher &l, const struct attend &a);
/* keys[kv head][slot][width] = the store's keys of a layer, rotated by item 0's index. */
cudaError_t rotate_kept_launch(const struct launcher &l, const struct attend &a, const float2 *row_angles, void *keys,
                               uint32_t slots);
/* attend_tensor.cu: the same on tensor cores, for stores of 16 bits an element and heads of 64 or 128. */
bool attend_tensor_takes(const struct kv_shape &kv);
cudaError_t attend_tensor_launch(const struct launcher &l, const struct attend &a);
int attend_width(int head_dim); /* what kv_shape.width must be; 0: no kernel for it */

/* ---- flash.cu: attention of many queries on tensor cores ---- */
struct flash {
  const struct query_item *items; /* all of one store */
  const void *q;                  /* [segments][n][n_heads * head_dim], rotated */
  void *out;                      /* [n][out_width] */
  struct kv_shape kv;
  int n, layer, n_heads, n_segments, q_width, out_width;
  uint64_t window;
  float scale;
  bool half_type; /* the store holds f16, not bf16 */
};
bool flash_takes(const struct kv_shape &kv);
cudaError_t flash_launch(const struct launcher &l, const struct flash &f);

/* ---- sample.cu ---- */
size_t draw_scratch_bytes();
/* The successors of rows of logits, at most DRAW_ROWS. scratch: so many bytes, zero before the first call. wanted: on the
 * device, [rows]; read when by_chance, which some row then is. out_host: the same in pinned memory, or NULL. */
enum { DRAW_ROWS = 64 };
cudaError_t draw_launch(const struct launcher &l, const float *logits, int vocab, int rows, bool by_chance,
                        const struct draw *wanted, void *scratch, struct drawn *out, struct drawn *out_host);
/* Only those by chance, where `out` holds what a greedy draw says. */
cudaError_t draw_by_chance_launch(const struct launcher &l, const float *logits, int vocab, int rows,
                                  const struct draw *wanted, void *scratch, struct drawn *out, struct drawn *out_host);

/* ---- rows.cu: everything between matrix products, for many tokens ---- */
struct begin {
  const unsigned *host; /* words that block 0 copies to `copied` first; NULL: what is needed has been copied */
  unsigned *copied;
  int words;
  const struct query_item *items; /* [n] */
  const struct slot_change *changes;
  int n, n_changes, n_segments, half, d, ld;
  struct matrix embedding;
  const double *frequency; /* [half] */
  float *x;                /* [n][ld] */
  float2 *angles;
  bool key_true; /* keys are rotated at their positions */
};
cudaError_t begin_launch(const struct launcher &l, const struct begin &b);
/* out[n][ld] = x normalised, as `kind`. */
cudaError_t norm_launch(const struct launcher &l, const float *x, const struct norm &norm, int n, int d, int ld, void *out,
                        enum matrix_kind kind);
struct ffn_middle { /* out = activation(gate) * up, or activation(in) alone */
  const void *in;    /* [n][ld_in] */
  const float *bias; /* of in */
  void *out;         /* [n][ld_out] */
  int n, d_ff, ld_in, ld_out;
  bool gated;
  enum activation activation;
  enum matrix_kind kind;
};
cudaError_t ffn_middle_launch(const struct launcher &l, const struct ffn_middle &f);
cudaError_t add_bias_launch(const struct launcher &l, float *x, const float *bias, int n, int d, int ld);
/* Keys and values of attend's items into their stores, and where q is not NULL the queries, rotated for each segment. */
cudaError_t rope_launch(const struct launcher &l, const struct attend &a, void *q, int q_width);
cudaError_t row_angles_launch(const struct launcher &l, const double *frequency, int half, uint32_t from, uint32_t to,
                              float2 *out);
cudaError_t expand_launch(const struct launcher &l, const struct matrix &w, bf16 *out); /* int8 -> bf16, [rows][ld] */
cudaError_t quantise_launch(const struct launcher &l, const struct matrix &w, int8_t *out, __half *scale);

#endif
