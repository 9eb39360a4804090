// One more token of every row of a small sequence model, in float32, on one core. Called through ctypes.
//
// The same functions as genloom/nets/stepping.py. Every sum is taken in an order that depends on its length alone, so
// that a row's numbers are equal, bit for bit, whatever rows are computed with it. Hence no -ffast-math.
//
// Shapes as there: B rows, D width, H heads, K = D / H, S places, C = places that fit, V vocabulary.

#include <new>
#include <vector>

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

// What is known of rows that are at one place. Several are read together, each at its own place.
struct State {
  i64 rows, places, seen;
  i64* window;         // [B, reach + 1], the newest token first
  const float* given;  // [B, D] of class and properties; or null
  float *memory, *c;   // keys and values of every layer, row and head; or hidden values [L, B, H]
};

static i64 padded(i64 n) { return (n + W - 1) / W * W; }
static float* zeros(i64 n) { return static_cast<float*>(std::calloc(n + 16, 4)); }

void genloom_end(State* s) {
  if (!s) return;
  void* parts[] = {s->window, s->memory, s->c, s};
  for (void* p : parts) std::free(p);
}

// An empty state; null if there is no memory for it. given [B, D] stays the caller's.
State* genloom_begin(const Model* m, i64 rows, i64 places, const float* given) {
  State* s = static_cast<State*>(std::calloc(1, sizeof(State)));
  if (!s) return nullptr;
  const i64 part = m->cell == TRANSFORMER ? m->width / m->heads : 0;
  s->rows = rows, s->places = padded(places), s->given = given;
  const i64 size = m->cell == TRANSFORMER ? m->depth * rows * m->heads * s->places * (part + padded(part))
                                          : m->depth * rows * m->hidden;
  s->window = static_cast<i64*>(std::calloc(rows * (m->reach + 1), sizeof(i64)));
  s->memory = zeros(size);
  s->c = zeros(m->cell == LSTM ? size : 1);
  if (s->window && s->memory && s->c) return s;
  genloom_end(s);
  return nullptr;
}
}

// A row of a state.
struct Row {
  State* state;
  i64 row;
};

// What is computed with, of `pieces` tokens at once; each thread has its own and keeps it.
struct Work {
  std::vector<Row> rows;
  std::vector<float> h, first, z, wide, mixed, scores, own;

  void fit(const Model* m, i64 pieces, i64 places) {
    const i64 gates = 4 * m->hidden;
    at_least(h, pieces * m->width);
    at_least(first, pieces * (m->cell == TRANSFORMER ? m->width : m->hidden));
    at_least(z, pieces * m->features);
    at_least(wide, pieces * (m->cell == TRANSFORMER ? 4 * m->width : gates));
    at_least(mixed, pieces * m->width);
    at_least(scores, places);
    at_least(own, m->cell == GRU ? pieces * gates : 0);
  }
  // Hidden values of a layer of a recurrent network.
  float* remembered(i64 i, i64 layer, i64 hidden) const {
    return rows[i].state->memory + (layer * rows[i].state->rows + rows[i].row) * hidden;
  }
  static void at_least(std::vector<float>& v, i64 n) {
    if (static_cast<i64>(v.size()) < n + 16) v.resize(n + 16);
  }
};

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

// e [B * T, D] in w.h, row by row -> features in w.z.
static void transformer(const Model* m, Work& w, i64 length) {
  const i64 width = m->width, heads = m->heads, part = width / heads, whole = w.rows.size() * length;
  const float scale = m->sharpness / std::sqrt(static_cast<float>(part));
  float *h = w.h.data(), *z = w.z.data(), *wide = w.wide.data(), *mixed = w.mixed.data();
  for (i64 i = 0; i < whole; i++) {
    normalised(h + i * width, h + i * width, width);
    std::memcpy(w.first.data() + i * width, h + i * width, 4 * width);
  }
  for (i64 layer = 0; layer < m->depth; layer++) {
    const float* const* weights = m->layers + 4 * layer;
    if (m->skip[layer] != 0.f) plus(h, w.first.data(), whole * width, m->skip[layer]);
    for (i64 i = 0; i < whole; i++) normalised(h + i * width, z + i * width, width);
    product(z, width, weights[0], width, wide, 3 * width, whole, 3 * width, width, false);
    for (i64 i = 0; i < whole; i++) {
      const auto [s, row] = w.rows[i / length];
      const i64 place = s->seen + i % length, for_keys = s->places * part;
      const i64 for_both = for_keys + s->places * padded(part);
      const float *qkv = wide + i * 3 * width, *turns = m->turns + place * part;
      for (i64 head = 0; head < heads; head++) {
        float* keys = s->memory + ((layer * s->rows + row) * heads + head) * for_both;
        float* values = keys + for_keys;
        float q[1024];
        turned(qkv + head * part, turns, part, scale, q, 1);
        turned(qkv + width + head * part, turns, part, 1.f, keys + place / W * W * part + place % W, W);
        std::memcpy(values + place * padded(part), qkv + 2 * width + head * part, 4 * part);
        attend(q, keys, values, part, place + 1, w.scores.data(), mixed + i * width + head * part);
      }
    }
    product(mixed, width, weights[1], width, h, width, whole, width, width, true);
    for (i64 i = 0; i < whole; i++) normalised(h + i * width, z + i * width, width);
    product(z, width, weights[2], width, wide, 4 * width, whole, 4 * width, width, false);
    for (i64 i = 0; i < whole * 4 * width; i++) {
      const float v = wide[i] < 0.f ? 0.f : wide[i];  // NaN stays
      wide[i] = v * v;
    }
    product(wide, 4 * width, weights[3], 4 * width, h, width, whole, width, 4 * width, true);
  }
  for (i64 i = 0; i < whole; i++) normalised(h + i * width, z + i * width, width);
}

// -- LSTM and GRU -----------------------------------------------------------------------------------------------------

static void begin_with(float* y, const float* bias, i64 rows, i64 n) {
  for (i64 i = 0; i < rows; i++) std::memcpy(y + i * n, bias, 4 * n);
}

// e [B, D] in w.h -> features [B, H + D] in w.z.
static void recurrent(const Model* m, Work& w) {
  const i64 rows = w.rows.size(), hidden = m->hidden, gates = (m->cell == LSTM ? 4 : 3) * hidden;
  const float* x = w.h.data();
  float *h = w.first.data(), *wide = w.wide.data(), *own = w.own.data();
  i64 width = m->width;
  for (i64 layer = 0; layer < m->depth; layer++) {
    const float* const* weights = m->layers + 4 * layer;
    begin_with(wide, weights[2], rows, gates);
    product(x, width, weights[0], width, wide, gates, rows, gates, width, true);
    for (i64 i = 0; i < rows; i++) std::memcpy(h + i * hidden, w.remembered(i, layer, hidden), 4 * hidden);
    if (m->cell == LSTM) {
      for (i64 i = 0; i < rows; i++) plus(wide + i * gates, weights[3], gates);
      product(h, hidden, weights[1], hidden, wide, gates, rows, gates, hidden, true);
      for (i64 i = 0; i < rows; i++) {
        const auto [s, row] = w.rows[i];
        float* c = s->c + (layer * s->rows + row) * hidden;
        for (i64 k = 0; k < hidden; k += W) {
          const float* g = wide + i * gates + k;
          const i64 left = hidden - k;
          const Vec now = sigmoid(load(g + hidden, left)) * load(c + k, left) +
                          sigmoid(load(g, left)) * hyperbolic(load(g + 2 * hidden, left));
          store(c + k, now, left);
          store(h + i * hidden + k, sigmoid(load(g + 3 * hidden, left)) * hyperbolic(now), left);
        }
      }
    } else {
      begin_with(own, weights[3], rows, gates);
      product(h, hidden, weights[1], hidden, own, gates, rows, gates, hidden, true);
      for (i64 i = 0; i < rows; i++)
        for (i64 k = 0; k < hidden; k += W) {
          const float *g = wide + i * gates + k, *mine = own + i * gates + k;
          float* hi = h + i * hidden + k;
          const i64 left = hidden - k;
          const Vec reset = sigmoid(load(g, left) + load(mine, left));
          const Vec keep = sigmoid(load(g + hidden, left) + load(mine + hidden, left));
          const Vec fresh = hyperbolic(load(g + 2 * hidden, left) + reset * load(mine + 2 * hidden, left));
          store(hi, (1.f - keep) * fresh + keep * load(hi, left), left);
        }
    }
    for (i64 i = 0; i < rows; i++) std::memcpy(w.remembered(i, layer, hidden), h + i * hidden, 4 * hidden);
    x = h;
    width = hidden;
  }
  for (i64 i = 0; i < rows; i++) {
    std::memcpy(w.z.data() + i * m->features, h + i * hidden, 4 * hidden);
    std::memcpy(w.z.data() + i * m->features + hidden, w.h.data() + i * m->width, 4 * m->width);
  }
}

// -- one call ---------------------------------------------------------------------------------------------------------

extern "C" {

enum Outcome { DONE, NO_TOKEN, NO_MEMORY };

// tokens [B, length] come next, B the rows of all states one after the other; logits [B, V] of what follows them.
// Nothing is done for a token that is none.
i64 genloom_read(const Model* m, State* const* states, i64 count, const i64* tokens, i64 length, float* logits) try {
  static thread_local Work w;
  w.rows.clear();
  i64 places = 0;
  for (i64 k = 0; k < count; k++) {
    for (i64 row = 0; row < states[k]->rows; row++) w.rows.push_back({states[k], row});
    places = states[k]->places > places ? states[k]->places : places;
  }
  const i64 rows = w.rows.size();
  for (i64 i = 0; i < rows * length; i++)
    if (tokens[i] < 0 || tokens[i] >= m->vocab) return NO_TOKEN;
  const i64 most = m->cell == TRANSFORMER && rows < 64 ? 64 / rows : 1;  // tokens of a row at once
  w.fit(m, rows * (most < length ? most : length), places);
  for (i64 begin = 0, now = 0; begin < length; begin += now) {
    now = length - begin < most ? length - begin : most;
    for (i64 i = 0; i < rows; i++)
      for (i64 t = 0; t < now; t++)
        embed(m, w.rows[i].state, w.rows[i].row, tokens[i * length + begin + t], w.rows[i].state->seen + t,
              w.h.data() + (i * now + t) * m->width);
    if (m->cell == TRANSFORMER)
      transformer(m, w, now);
    else
      recurrent(m, w);
    for (i64 k = 0; k < count; k++) states[k]->seen += now;
    if (begin + now == length) {
      const float* last = w.z.data() + (now - 1) * m->features;
      product(last, now * m->features, m->head, m->features, logits, m->vocab, rows, m->vocab, m->features, false);
    }
  }
  if (m->softcap != 0.f)
    for (i64 i = 0; i < rows * m->vocab; i++) logits[i] = m->softcap * std::tanh(logits[i] / m->softcap);
  return DONE;
} catch (const std::bad_alloc&) {
  return NO_MEMORY;
}
}
