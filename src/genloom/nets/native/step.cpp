// One more token of every row of a small sequence model, in float32, on one core. Called through ctypes.
//
// The same functions as genloom/nets/stepping.py. Every sum is taken in an order that depends on its length alone, so
// that a row's numbers are equal, bit for bit, whatever rows are computed with it. Hence no -ffast-math.
//
// Shapes as there: B rows, D width, H heads, K = D / H, S places, C = places that fit, V vocabulary.

#include "arithmetic.h"

// -- the model --------------------------------------------------------------------------------------------------------

extern "C" {

enum Cell { TRANSFORMER, LSTM, GRU };

// As in stepping/native.py. Weights as torch has them, [outputs, inputs].
struct Model {
  i64 cell, vocab, width, depth, heads, hidden, features;
  // Inputs: tables of n-grams; how each makes its key (`small`: by the vocabulary) and row (`own`: the key itself).
  i64 ngrams, neighbours, reach, boundary;  // boundary: -1 for none
  const float *token, *position;           // position: or null
  const float* const* tables;
  const i64 *rows, *small, *own;
  const float* const* beside;
  const i64* back;
  // Body: qkv, out, up, down of each layer; or weights and biases, of the input and of the state.
  const float* const* layers;
  const float *skip, *turns;  // turns [C, K / 2, 2]
  float sharpness, softcap;
  const float* head;  // [V, features]
};

struct State {
  i64 rows, places, seen, pieces;
  i64* window;         // [B, reach + 1], the newest token first
  const float* given;  // [B, D] of class and properties; or null
  float *memory, *c;   // keys and values of every layer, row and head; or hidden values [L, B, H]
  float *h, *first, *z, *wide, *mixed, *scores;
};

static i64 padded(i64 n) { return (n + W - 1) / W * W; }
static float* zeros(i64 n) { return static_cast<float*>(std::calloc(n + 16, 4)); }

void genloom_end(State* s) {
  if (!s) return;
  void* parts[] = {s->window, s->memory, s->c, s->h, s->first, s->z, s->wide, s->mixed, s->scores, s};
  for (void* p : parts) std::free(p);
}

// An empty state; null if there is no memory for it. given [B, D] stays the caller's.
State* genloom_begin(const Model* m, i64 rows, i64 places, const float* given) {
  State* s = static_cast<State*>(std::calloc(1, sizeof(State)));
  if (!s) return nullptr;
  const i64 part = m->cell == TRANSFORMER ? m->width / m->heads : 0;
  s->rows = rows, s->places = padded(places), s->given = given;
  s->pieces = rows > 64 ? rows : 64;  // rows of the buffers: tokens that are read at once
  const i64 size = m->cell == TRANSFORMER ? m->depth * rows * m->heads * s->places * (part + padded(part))
                                          : m->depth * rows * m->hidden;
  const i64 wide = m->cell == TRANSFORMER ? 4 * m->width : 4 * m->hidden;
  s->window = static_cast<i64*>(std::calloc(rows * (m->reach + 1), sizeof(i64)));
  s->memory = zeros(size);
  s->c = zeros(m->cell == LSTM ? size : m->cell == GRU ? 4 * rows * m->hidden : 1);
  s->h = zeros(s->pieces * m->width);
  s->first = zeros(s->pieces * m->width);
  s->z = zeros(s->pieces * m->features);
  s->wide = zeros(s->pieces * wide);
  s->mixed = zeros(s->pieces * m->width);
  s->scores = zeros(s->places);
  if (s->window && s->memory && s->c && s->h && s->first && s->z && s->wide && s->mixed && s->scores) return s;
  genloom_end(s);
  return nullptr;
}
}

static void plus(float* y, const float* x, i64 n, float factor = 1.f) {
  for (i64 i = 0; i < n; i++) y[i] += factor * x[i];
}

// y with unit root mean square (F.rms_norm).
static void normalised(const float* x, float* y, i64 n) {
  Vec squares = {};
  for (i64 i = 0; i < n; i += W) {
    const Vec v = load(x + i, n - i);
    squares += v * v;
  }
  const float factor = 1.f / std::sqrt(sum(squares) / n + 1.1920929e-7f);
  for (i64 i = 0; i < n; i++) y[i] = x[i] * factor;
}

// What `Inputs` says of the next token of a row.
static void embed(const Model* m, const State* s, i64 row, i64 token, i64 place, float* e) {
  const i64 width = m->width;
  i64* window = s->window + row * (m->reach + 1);
  for (i64 i = m->reach; i; i--) window[i] = window[i - 1];
  window[0] = token;
  std::memcpy(e, m->token + token * width, 4 * width);
  uint64_t key = token;
  bool begun = token == m->boundary;
  for (i64 n = 0; n < m->ngrams; n++) {
    const i64 before = window[n + 1];
    const uint64_t given = begun ? 0 : before;
    begun = begun || before == m->boundary;
    key = m->small[n] ? key * m->vocab + given : key * 1000003u + given + 1;
    i64 at = key;
    if (!m->own[n]) {
      const i64 mixed = key * 0x9E3779B97F4A7C1u;
      at = (mixed ^ (mixed >> 29)) % m->rows[n];
      at += at < 0 ? m->rows[n] : 0;
    }
    plus(e, m->tables[n] + at * width, width);
  }
  for (i64 n = 0; n < m->neighbours; n++) plus(e, m->beside[n] + window[m->back[n]] * width, width);
  if (m->position) plus(e, m->position + place * width, width);
  if (s->given) plus(e, s->given + row * width, width);
}

// -- the Transformer --------------------------------------------------------------------------------------------------

// scores[j] = q . key of W places from j on: keys [places / W, K, W].
static inline Vec alike(const float* q, const float* keys, i64 part) {
  Vec a[4] = {};
  i64 k = 0;
  for (; k + 4 <= part; k += 4)
    UNROLLED for (int i = 0; i < 4; i++) a[i] += q[k + i] * load(keys + (k + i) * W);
  for (; k < part; k++) a[0] += q[k] * load(keys + k * W);
  return (a[0] + a[1]) + (a[2] + a[3]);
}

// N vectors of the mean of values [places, apart] with these weights.
template <int N>
static void mean(const float* weights, const float* values, i64 apart, i64 places, float* out, i64 left) {
  Vec acc[4][N] = {};
  for (i64 j = 0; j < places; j += 4)
    UNROLLED for (int i = 0; i < 4; i++)
      UNROLLED for (int n = 0; n < N; n++) acc[i][n] += weights[j + i] * load(values + (j + i) * apart + n * W);
  for (int n = 0; n < N; n++) store(out + n * W, (acc[0][n] + acc[1][n]) + (acc[2][n] + acc[3][n]), left - n * W);
}

// Have n values from p on brought near.
static inline void ahead(const float* p, i64 n) {
  for (i64 i = 0; i < n; i += 16) __builtin_prefetch(p + i);
}

// v with the values from `count` on at -inf.
static inline Vec begun(Vec v, i64 count) {
  float out[W];
  store(out, v);
  for (i64 i = count; i < W; i++) out[i] = -INFINITY;
  return load(out);
}

// One head of one row: `count` places are attended to.
static void attend(const float* q, const float* keys, const float* values, i64 part, i64 count, float* scores,
                   float* out) {
  const i64 whole = padded(count), apart = padded(part);
  Vec most = all(-INFINITY);
  for (i64 j = 0; j < whole; j += W) {
    if (j + W < whole) ahead(keys + (j + W) * part, W * part);
    const Vec v = j + W <= count ? alike(q, keys + j * part, part) : begun(alike(q, keys + j * part, part), count - j);
    store(scores + j, v);
    most = v > most ? v : most;
  }
  ahead(values, 2 * W * apart);
  float tops[W], top;
  store(tops, most);
  top = tops[0];
  for (int i = 1; i < W; i++) top = tops[i] > top ? tops[i] : top;
  Vec total = {};
  for (i64 j = 0; j < whole; j += W) {
    const Vec v = load(scores + j) - top;
    const Vec e = v < all(-60.f) ? all(0.f) : exponential(v);  // nothing beside 1, but slow to compute with; NaN stays
    store(scores + j, e);
    total += e;
  }
  const float share = 1.f / sum(total);
  for (i64 j = 0; j < whole; j += W) store(scores + j, load(scores + j) * share);
  i64 k = 0;
  for (; k + 4 * W <= apart; k += 4 * W) mean<4>(scores, values + k, apart, whole, out + k, part - k);
  for (; k + 2 * W <= apart; k += 2 * W) mean<2>(scores, values + k, apart, whole, out + k, part - k);
  for (; k < apart; k += W) mean<1>(scores, values + k, apart, whole, out + k, part - k);
}

// x [K] with unit root mean square, turned, times a factor; to y, whose values stand `apart` from each other.
static void turned(const float* x, const float* turns, i64 part, float factor, float* y, i64 apart) {
  Vec squares = {};
  for (i64 k = 0; k < part; k += W) {
    const Vec v = load(x + k, part - k);
    squares += v * v;
  }
  factor /= std::sqrt(sum(squares) / part + 1.1920929e-7f);
  for (i64 k = 0; k < part; k += 2) {
    const float a = x[k] * factor, b = x[k + 1] * factor, c = turns[k], d = turns[k + 1];
    y[k * apart] = a * c - b * d;
    y[(k + 1) * apart] = a * d + b * c;
  }
}

// e [B * T, D] in s->h, row by row -> features in s->z.
static void transformer(const Model* m, State* s, i64 length) {
  const i64 width = m->width, heads = m->heads, part = width / heads, whole = s->rows * length;
  const i64 for_keys = s->places * part, for_both = for_keys + s->places * padded(part);
  const float scale = m->sharpness / std::sqrt(static_cast<float>(part));
  for (i64 i = 0; i < whole; i++) {
    normalised(s->h + i * width, s->h + i * width, width);
    std::memcpy(s->first + i * width, s->h + i * width, 4 * width);
  }
  for (i64 layer = 0; layer < m->depth; layer++) {
    const float* const* w = m->layers + 4 * layer;
    if (m->skip[layer] != 0.f) plus(s->h, s->first, whole * width, m->skip[layer]);
    for (i64 i = 0; i < whole; i++) normalised(s->h + i * width, s->z + i * width, width);
    product(s->z, width, w[0], width, s->wide, 3 * width, whole, 3 * width, width, false);
    for (i64 i = 0; i < whole; i++) {
      const i64 row = i / length, place = s->seen + i % length;
      const float *qkv = s->wide + i * 3 * width, *turns = m->turns + place * part;
      for (i64 head = 0; head < heads; head++) {
        float* keys = s->memory + ((layer * s->rows + row) * heads + head) * for_both;
        float* values = keys + for_keys;
        float q[1024];
        turned(qkv + head * part, turns, part, scale, q, 1);
        turned(qkv + width + head * part, turns, part, 1.f, keys + place / W * W * part + place % W, W);
        std::memcpy(values + place * padded(part), qkv + 2 * width + head * part, 4 * part);
        attend(q, keys, values, part, place + 1, s->scores, s->mixed + i * width + head * part);
      }
    }
    product(s->mixed, width, w[1], width, s->h, width, whole, width, width, true);
    for (i64 i = 0; i < whole; i++) normalised(s->h + i * width, s->z + i * width, width);
    product(s->z, width, w[2], width, s->wide, 4 * width, whole, 4 * width, width, false);
    for (i64 i = 0; i < whole * 4 * width; i++) {
      const float v = s->wide[i] < 0.f ? 0.f : s->wide[i];  // NaN stays
      s->wide[i] = v * v;
    }
    product(s->wide, 4 * width, w[3], 4 * width, s->h, width, whole, width, 4 * width, true);
  }
  for (i64 i = 0; i < whole; i++) normalised(s->h + i * width, s->z + i * width, width);
}

// -- LSTM and GRU -----------------------------------------------------------------------------------------------------

static void begin_with(float* y, const float* bias, i64 rows, i64 n) {
  for (i64 i = 0; i < rows; i++) std::memcpy(y + i * n, bias, 4 * n);
}

// e [B, D] in s->h -> features [B, H + D] in s->z.
static void recurrent(const Model* m, State* s) {
  const i64 rows = s->rows, hidden = m->hidden, gates = (m->cell == LSTM ? 4 : 3) * hidden;
  const float* x = s->h;
  i64 width = m->width;
  for (i64 layer = 0; layer < m->depth; layer++) {
    const float* const* w = m->layers + 4 * layer;
    float* h = s->memory + layer * rows * hidden;
    begin_with(s->wide, w[2], rows, gates);
    product(x, width, w[0], width, s->wide, gates, rows, gates, width, true);
    if (m->cell == LSTM) {
      for (i64 i = 0; i < rows; i++) plus(s->wide + i * gates, w[3], gates);
      product(h, hidden, w[1], hidden, s->wide, gates, rows, gates, hidden, true);
      float* c = s->c + layer * rows * hidden;
      for (i64 i = 0; i < rows; i++)
        for (i64 k = 0; k < hidden; k += W) {
          const float* g = s->wide + i * gates + k;
          float *hi = h + i * hidden + k, *ci = c + i * hidden + k;
          const i64 left = hidden - k;
          const Vec now = sigmoid(load(g + hidden, left)) * load(ci, left) +
                          sigmoid(load(g, left)) * hyperbolic(load(g + 2 * hidden, left));
          store(ci, now, left);
          store(hi, sigmoid(load(g + 3 * hidden, left)) * hyperbolic(now), left);
        }
    } else {
      begin_with(s->c, w[3], rows, gates);
      product(h, hidden, w[1], hidden, s->c, gates, rows, gates, hidden, true);
      for (i64 i = 0; i < rows; i++)
        for (i64 k = 0; k < hidden; k += W) {
          const float *g = s->wide + i * gates + k, *own = s->c + i * gates + k;
          float* hi = h + i * hidden + k;
          const i64 left = hidden - k;
          const Vec reset = sigmoid(load(g, left) + load(own, left));
          const Vec keep = sigmoid(load(g + hidden, left) + load(own + hidden, left));
          const Vec fresh = hyperbolic(load(g + 2 * hidden, left) + reset * load(own + 2 * hidden, left));
          store(hi, (1.f - keep) * fresh + keep * load(hi, left), left);
        }
    }
    x = h;
    width = hidden;
  }
  for (i64 i = 0; i < rows; i++) {
    std::memcpy(s->z + i * m->features, x + i * hidden, 4 * hidden);
    std::memcpy(s->z + i * m->features + hidden, s->h + i * m->width, 4 * m->width);
  }
}

// -- one call ---------------------------------------------------------------------------------------------------------

extern "C" {

// tokens [B, length] come next; logits [B, V] of what follows them. False, and nothing done, for a token that is none.
bool genloom_read(const Model* m, State* s, const i64* tokens, i64 length, float* logits) {
  for (i64 i = 0; i < s->rows * length; i++)
    if (tokens[i] < 0 || tokens[i] >= m->vocab) return false;
  const i64 most = m->cell == TRANSFORMER ? s->pieces / s->rows : 1;
  for (i64 begin = 0, now = 0; begin < length; begin += now) {
    now = length - begin < most ? length - begin : most;
    for (i64 row = 0; row < s->rows; row++)
      for (i64 t = 0; t < now; t++)
        embed(m, s, row, tokens[row * length + begin + t], s->seen + t, s->h + (row * now + t) * m->width);
    if (m->cell == TRANSFORMER)
      transformer(m, s, now);
    else
      recurrent(m, s);
    s->seen += now;
    if (begin + now == length) {
      const float* last = s->z + (now - 1) * m->features;
      product(last, now * m->features, m->head, m->features, logits, m->vocab, s->rows, m->vocab, m->features, false);
    }
  }
  if (m->softcap != 0.f)
    for (i64 i = 0; i < s->rows * m->vocab; i++) logits[i] = m->softcap * std::tanh(logits[i] / m->softcap);
  return true;
}
}
