// The loops of the memory, for a page: what NumPy and the compiled loops do in Python, in the same order.
//
// Every array lies in the one memory of this module, where kernels.js gives out room; all are floats, rows one after
// the other, unless said otherwise. Shapes are written as in Python: H, W, C of maps; T frames, F bins, M bands.

#define EXPORT(name) __attribute__((export_name(#name))) void name
#define COUNT(name) __attribute__((export_name(#name))) int name

typedef float Four __attribute__((vector_size(16), aligned(4)));
typedef int Signs __attribute__((vector_size(16), aligned(4)));
typedef long long Bits;

static const int PANEL = 8;   // columns of a product that are made together
static const int TILE = 4;    // ... and rows
static const double TURN = 6.283185307179586476925286766559;

static inline Four four(float x) { return (Four){x, x, x, x}; }
static inline Four at(const float *x) { return *(const Four *)x; }
static inline void put(float *x, Four value) { *(Four *)x = value; }
static inline float sum(Four x) { return (x[0] + x[1]) + (x[2] + x[3]); }
static inline float larger(float a, float b) { return a > b ? a : b; }
static inline float smaller(float a, float b) { return a < b ? a : b; }
static inline Four largest(Four a, Four b) { return __builtin_wasm_pmax_f32x4(a, b); }
static inline Four smallest(Four a, Four b) { return __builtin_wasm_pmin_f32x4(a, b); }

// ---------------------------------------------------------------------------------------------------- functions
// In double precision, so that what is rounded to single is right in its last bit.

static inline double from_bits(Bits bits) { double x; __builtin_memcpy(&x, &bits, 8); return x; }
static inline Bits to_bits(double x) { Bits bits; __builtin_memcpy(&bits, &x, 8); return bits; }

static double exponential(double x) {
    if (x < -700.0) return 0.0;
    if (x > 700.0) x = 700.0;
    double k = __builtin_rint(x * 1.4426950408889634);
    double r = (x - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10;
    double p = 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    return p * from_bits((Bits)((int)k + 1023) << 52);
}

static double logarithm(double x) {  // of x > 0, not below what is normal
    Bits bits = to_bits(x);
    int k = (int)(bits >> 52) - 1023;
    double m = from_bits((bits & 0xfffffffffffffLL) | 0x3ff0000000000000LL);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        k += 1;
    }
    double s = (m - 1.0) / (m + 1.0), z = s * s;
    double p = 1.0 / 15;
    p = p * z + 1.0 / 13;
    p = p * z + 1.0 / 11;
    p = p * z + 1.0 / 9;
    p = p * z + 1.0 / 7;
    p = p * z + 1.0 / 5;
    p = p * z + 1.0 / 3;
    p = p * z + 1.0;
    return 2.0 * s * p + k * 0.693147180559945309417232;
}

static void cosine_and_sine(double x, double *cosine, double *sine) {
    double k = __builtin_rint(x * 0.63661977236758134308);
    double r = x - k * 1.57079632679489661923, z = r * r;
    double s = -1.0 / 39916800;
    s = s * z + 1.0 / 362880;
    s = s * z - 1.0 / 5040;
    s = s * z + 1.0 / 120;
    s = s * z - 1.0 / 6;
    s = (s * z + 1.0) * r;
    double c = 1.0 / 479001600;
    c = c * z - 1.0 / 3628800;
    c = c * z + 1.0 / 40320;
    c = c * z - 1.0 / 720;
    c = c * z + 1.0 / 24;
    c = c * z - 0.5;
    c = c * z + 1.0;
    int quarter = (int)k & 3;
    double across = quarter & 1 ? s : c, up = quarter & 1 ? c : s;
    *cosine = quarter == 1 || quarter == 2 ? -across : across;
    *sine = quarter & 2 ? -up : up;
}

static float tangent(float x) {  // hyperbolic
    if (x > 10.0f) return 1.0f;
    if (x < -10.0f) return -1.0f;
    double e = exponential(2.0 * (double)x);
    return (float)((e - 1.0) / (e + 1.0));
}

// ------------------------------------------------------------------------------------------------------ products

// Multiply four rows with one panel. `list` holds the inputs that count, or is nothing: then all do.
static inline __attribute__((always_inline)) void tile(
    const float *x, int inputs, const int *list, int count, const float *panel, Four first, Four second,
    float *out, int outputs, int columns
) {
    Four a0 = first, a1 = first, a2 = first, a3 = first, b0 = second, b1 = second, b2 = second, b3 = second;
    const float *x0 = x, *x1 = x + inputs, *x2 = x1 + inputs, *x3 = x2 + inputs;
    for (int n = 0; n < count; n++) {
        int k = list ? list[n] : n;
        Four v = at(panel + PANEL * k), w = at(panel + PANEL * k + 4);
        Four r0 = four(x0[k]), r1 = four(x1[k]), r2 = four(x2[k]), r3 = four(x3[k]);
        a0 += r0 * v; b0 += r0 * w;
        a1 += r1 * v; b1 += r1 * w;
        a2 += r2 * v; b2 += r2 * w;
        a3 += r3 * v; b3 += r3 * w;
    }
    Four made[8] = {a0, b0, a1, b1, a2, b2, a3, b3};
    for (int r = 0; r < TILE; r++) {
        float *row = out + r * outputs;
        if (columns == PANEL) {
            put(row, made[2 * r]);
            put(row + 4, made[2 * r + 1]);
        } else {
            for (int c = 0; c < columns; c++) row[c] = made[2 * r + (c >> 2)][c & 3];
        }
    }
}

// Multiply one row with one panel.
static inline __attribute__((always_inline)) void line(
    const float *x, const int *list, int count, const float *panel, Four first, Four second, float *out, int columns
) {
    Four a = first, b = second, c = four(0), d = four(0), e = four(0), f = four(0), g = four(0), h = four(0);
    int n = 0;
    for (; n + 4 <= count; n += 4) {
        int k0 = list ? list[n] : n, k1 = list ? list[n + 1] : n + 1;
        int k2 = list ? list[n + 2] : n + 2, k3 = list ? list[n + 3] : n + 3;
        const float *p0 = panel + PANEL * k0, *p1 = panel + PANEL * k1;
        const float *p2 = panel + PANEL * k2, *p3 = panel + PANEL * k3;
        Four r0 = four(x[k0]), r1 = four(x[k1]), r2 = four(x[k2]), r3 = four(x[k3]);
        a += r0 * at(p0); b += r0 * at(p0 + 4);
        c += r1 * at(p1); d += r1 * at(p1 + 4);
        e += r2 * at(p2); f += r2 * at(p2 + 4);
        g += r3 * at(p3); h += r3 * at(p3 + 4);
    }
    for (; n < count; n++) {
        int k = list ? list[n] : n;
        a += four(x[k]) * at(panel + PANEL * k);
        b += four(x[k]) * at(panel + PANEL * k + 4);
    }
    a = (a + c) + (e + g);
    b = (b + d) + (f + h);
    if (columns == PANEL) {
        put(out, a);
        put(out + 4, b);
    } else {
        for (int i = 0; i < columns; i++) out[i] = i < 4 ? a[i] : b[i - 4];
    }
}

// Return rows (R, inputs) times weights, plus a bias (outputs) or nothing: (R, outputs). The weights are packed in
// panels of 8 outputs: (panels, inputs, 8), and so is the bias. `list` (count) holds the inputs that count, or nothing.
// Rows are read and written up to a multiple of 4 if there is more than one.
EXPORT(product)(
    const float *x, int rows, int inputs, const int *list, int count, const float *packed, const float *bias,
    float *out, int outputs
) {
    for (int p = 0; p * PANEL < outputs; p++) {
        const float *panel = packed + p * PANEL * inputs;
        int columns = outputs - p * PANEL < PANEL ? outputs - p * PANEL : PANEL;
        Four first = bias ? at(bias + p * PANEL) : four(0), second = bias ? at(bias + p * PANEL + 4) : four(0);
        float *to = out + p * PANEL;
        if (rows == 1) {
            if (list) line(x, list, count, panel, first, second, to, columns);
            else line(x, 0, inputs, panel, first, second, to, columns);
            continue;
        }
        for (int r = 0; r < rows; r += TILE) {
            const float *four_rows = x + r * inputs;
            float *made = to + r * outputs;
            if (list) tile(four_rows, inputs, list, count, panel, first, second, made, outputs, columns);
            else tile(four_rows, inputs, 0, inputs, panel, first, second, made, outputs, columns);
        }
    }
}

// Pack a matrix in panels of 8 outputs, (panels, inputs, 8), filled up with 0. Output n is unit n % units at the place
// n / units; the steps say how far apart inputs, units and places lie.
EXPORT(pack)(
    const float *matrix, int inputs, int outputs, int units, int by_input, int by_unit, int by_place, float *out
) {
    for (int p = 0; p < outputs; p += PANEL)
        for (int k = 0; k < inputs; k++)
            for (int n = p; n < p + PANEL; n++)
                *out++ = n < outputs ? matrix[k * by_input + n % units * by_unit + n / units * by_place] : 0.0f;
}

// List the columns of a matrix (R, C) that are not all 0; return how many. `seen` is room for C floats.
COUNT(active)(const float *maps, int rows, int units, float *seen, int *list) {
    for (int c = 0; c < units; c++) seen[c] = 0.0f;
    for (int r = 0; r < rows; r++) {
        const float *row = maps + r * units;
        for (int c = 0; c < units; c++) seen[c] += row[c] < 0.0f ? -row[c] : row[c];
    }
    int count = 0;
    for (int c = 0; c < units; c++)
        if (seen[c] != 0.0f) list[count++] = c;
    return count;
}

// ----------------------------------------------------------------------------------------------------- generator

static inline float lit(float x, float gain, float shift) { return larger(x * gain + shift, 0.0f); }

// Scale, shift and ReLU maps (R, C) in place, by unit.
EXPORT(light)(float *maps, int rows, int units, const float *gain, const float *shift) {
    for (int r = 0; r < rows; r++, maps += units)
        for (int c = 0; c < units; c++) maps[c] = lit(maps[c], gain[c], shift[c]);
}

// Sum the columns (H, W, 4, 4, C) that overlap at each place of a map (2 H, 2 W, C). Then scale, shift, ReLU.
// `nothing` is C zeros.
EXPORT(gather)(
    const float *columns, int height, int width, int units, const float *gain, const float *shift,
    const float *nothing, float *out
) {
    for (int y = 0; y < 2 * height; y++)
        for (int x = 0; x < 2 * width; x++, out += units) {
            const float *from[4];
            for (int n = 0; n < 4; n++) {
                int down = n >> 1, right = n & 1, i = ((y + 1) >> 1) - down, j = ((x + 1) >> 1) - right;
                int place = 4 * (((y + 1) & 1) + 2 * down) + ((x + 1) & 1) + 2 * right;
                int inside = i >= 0 && i < height && j >= 0 && j < width;
                from[n] = inside ? columns + (16 * (i * width + j) + place) * units : nothing;
            }
            const float *a = from[0], *b = from[1], *c = from[2], *d = from[3];
            int u = 0;
            for (; u + 4 <= units; u += 4) {
                Four all = ((at(a + u) + at(b + u)) + at(c + u)) + at(d + u);
                put(out + u, largest(all * at(gain + u) + at(shift + u), four(0)));
            }
            for (; u < units; u++) out[u] = lit(((a[u] + b[u]) + c[u]) + d[u], gain[u], shift[u]);
        }
}

// Sum the columns (H, W, 4, 4) that overlap, add the bias, tanh: the mel (2 H, 2 W).
EXPORT(sound_out)(const float *columns, int height, int width, float bias, float *out) {
    for (int y = 0; y < 2 * height; y++)
        for (int x = 0; x < 2 * width; x++) {
            float all = 0.0f;
            for (int n = 3; n >= 0; n--) {
                int down = n >> 1, right = n & 1, i = ((y + 1) >> 1) - down, j = ((x + 1) >> 1) - right;
                if (i < 0 || i >= height || j < 0 || j >= width) continue;
                all += columns[16 * (i * width + j) + 4 * (((y + 1) & 1) + 2 * down) + ((x + 1) & 1) + 2 * right];
            }
            *out++ = tangent(all + bias);
        }
}

// Multiply maps (R, C) by strengths (C,), in place.
EXPORT(fade)(float *maps, int rows, int units, const float *strength) {
    for (int r = 0; r < rows; r++, maps += units)
        for (int c = 0; c < units; c++) maps[c] *= strength[c];
}

// Bend maps (R, C) in place: invert (C,), gain (C,), then strength (C,) of it and the rest of a replacement, (1, C) or
// (R, C). Any of the three may be nothing. `ends` is room for 2 C floats.
EXPORT(bend)(
    float *maps, int rows, int units, const float *invert, const float *gain, const float *strength,
    const float *instead, int instead_rows, float *ends
) {
    float *most = ends, *least = ends + units;
    if (invert) {
        for (int c = 0; c < units; c++) most[c] = least[c] = maps[c];
        for (int r = 1; r < rows; r++)
            for (int c = 0; c < units; c++) {
                most[c] = larger(most[c], maps[r * units + c]);
                least[c] = smaller(least[c], maps[r * units + c]);
            }
    }
    for (int r = 0; r < rows; r++, maps += units) {
        if (invert)
            for (int c = 0; c < units; c++)
                maps[c] = (1.0f - invert[c]) * maps[c] + invert[c] * (most[c] + least[c] - maps[c]);
        if (gain)
            for (int c = 0; c < units; c++) maps[c] *= gain[c];
        if (strength) {
            const float *other = instead_rows == 1 ? instead : instead + r * units;
            for (int c = 0; c < units; c++) maps[c] = strength[c] * maps[c] + (1.0f - strength[c]) * other[c];
        }
    }
}

// Mean over the height of maps (H, W, C): (W, C).
EXPORT(firing)(const float *maps, int height, int width, int units, float *out) {
    int size = width * units;
    for (int n = 0; n < size; n++) out[n] = maps[n];
    for (int y = 1; y < height; y++)
        for (int n = 0; n < size; n++) out[n] += maps[y * size + n];
    for (int n = 0; n < size; n++) out[n] /= (float)height;
}

// ----------------------------------------------------------------------------------------------------- transform

// One pass of Stockham's transform: `factor` parts of a signal whose entries are blocks of `stride` floats.
static void pass(
    const float *re, const float *im, float *to_re, float *to_im, int size, int length, int stride, int factor,
    const float *table
) {
    int part = length / factor, step = size / length, across = part * stride;
    for (int k = 0; k < part; k++)
        for (int i = 0; i < factor; i++) {
            int turned = (i * k * step) % size;
            float c = table[2 * turned], s = table[2 * turned + 1];
            const float *r = re + stride * k, *m = im + stride * k;
            float *p = to_re + stride * (factor * k + i), *q = to_im + stride * (factor * k + i);
            for (int n = 0; n < stride; n++) p[n] = q[n] = 0.0f;
            for (int j = 0; j < factor; j++) {
                int angle = (i * j % factor) * (size / factor);
                float cj = table[2 * angle], sj = table[2 * angle + 1];
                float cc = cj * c - sj * s, ss = cj * s + sj * c;
                for (int n = 0; n < stride; n++) {
                    float a = r[j * across + n], b = m[j * across + n];
                    p[n] += a * cc - b * ss;
                    q[n] += a * ss + b * cc;
                }
            }
        }
}

static void pass_of_two(
    const float *re, const float *im, float *restrict to_re, float *restrict to_im, int size, int length, int stride,
    const float *table
) {
    int part = length / 2, step = size / length, across = part * stride;
    for (int k = 0; k < part; k++) {
        float c = table[2 * k * step], s = table[2 * k * step + 1];
        const float *r = re + stride * k, *m = im + stride * k;
        float *p = to_re + 2 * stride * k, *q = to_im + 2 * stride * k;
        for (int n = 0; n < stride; n++) {
            float a = r[n], b = r[across + n], d = m[n], e = m[across + n];
            p[n] = a + b;
            q[n] = d + e;
            p[stride + n] = (a - b) * c - (d - e) * s;
            q[stride + n] = (a - b) * s + (d - e) * c;
        }
    }
}

static void pass_of_four(
    const float *re, const float *im, float *restrict to_re, float *restrict to_im, int size, int length, int stride,
    const float *table
) {
    int part = length / 4, step = size / length, across = part * stride;
    for (int k = 0; k < part; k++) {
        const float *t1 = table + 2 * k * step, *t2 = table + 4 * k * step, *t3 = table + 6 * k * step;
        float c1 = t1[0], s1 = t1[1], c2 = t2[0], s2 = t2[1], c3 = t3[0], s3 = t3[1];
        const float *r = re + stride * k, *m = im + stride * k;
        float *p = to_re + 4 * stride * k, *q = to_im + 4 * stride * k;
        for (int n = 0; n < stride; n++) {
            float a = r[n], b = r[across + n], c = r[2 * across + n], d = r[3 * across + n];
            float e = m[n], f = m[across + n], g = m[2 * across + n], h = m[3 * across + n];
            float ac = a + c, a_c = a - c, bd = b + d, b_d = b - d, eg = e + g, e_g = e - g, fh = f + h, f_h = f - h;
            p[n] = ac + bd;
            q[n] = eg + fh;
            float x = a_c + f_h, y = e_g - b_d;  // minus i times (b - d)
            p[stride + n] = x * c1 - y * s1;
            q[stride + n] = x * s1 + y * c1;
            x = ac - bd;
            y = eg - fh;
            p[2 * stride + n] = x * c2 - y * s2;
            q[2 * stride + n] = x * s2 + y * c2;
            x = a_c - f_h;
            y = e_g + b_d;
            p[3 * stride + n] = x * c3 - y * s3;
            q[3 * stride + n] = x * s3 + y * c3;
        }
    }
}

// Fourier transform of `size` blocks of `stride` complex numbers, in place; for the inverse, exchange both parts.
// `table` holds e^(-2 pi i n / size), the cosine and the sine of each; `room` is 2 * size * stride floats.
EXPORT(transform)(float *re, float *im, int size, int stride, const float *table, float *room) {
    float *from_re = re, *from_im = im, *to_re = room, *to_im = room + size * stride;
    int length = size, blocks = stride;
    while (length > 1) {
        int factor = 2;
        while (length % factor) factor++;
        if (length % 4 == 0) {
            factor = 4;
            pass_of_four(from_re, from_im, to_re, to_im, size, length, blocks, table);
        } else if (factor == 2) {
            pass_of_two(from_re, from_im, to_re, to_im, size, length, blocks, table);
        } else {
            pass(from_re, from_im, to_re, to_im, size, length, blocks, factor, table);
        }
        length /= factor;
        blocks *= factor;
        float *r = from_re, *i = from_im;
        from_re = to_re; from_im = to_im;
        to_re = r; to_im = i;
    }
    if (from_re != re)
        for (int n = 0; n < size * stride; n++) {
            re[n] = from_re[n];
            im[n] = from_im[n];
        }
}

// Divide complex numbers by their modulus; 0 stays 0.
EXPORT(unit)(float *re, float *im, int count) {
    for (int n = 0; n < count; n++) {
        float modulus = __builtin_sqrtf(re[n] * re[n] + im[n] * im[n]);
        float by = modulus > 0.0f ? 1.0f / modulus : 0.0f;
        re[n] *= by;
        im[n] *= by;
    }
}

// Give spectra the phases of others, of modulus 1.
EXPORT(rephase)(float *re, float *im, const float *phase_re, const float *phase_im, int count) {
    for (int n = 0; n < count; n++) {
        float modulus = __builtin_sqrtf(re[n] * re[n] + im[n] * im[n]);
        re[n] = modulus * phase_re[n];
        im[n] = modulus * phase_im[n];
    }
}

// ------------------------------------------------------------------------------------------------------- vocoder

// Normalize rows (R, C) in place.
EXPORT(normalize)(float *x, int rows, int channels, const float *weight, const float *bias) {
    for (int r = 0; r < rows; r++, x += channels) {
        Four all = four(0), squares = four(0);
        float more = 0.0f, rest = 0.0f;
        int c = 0;
        for (; c + 4 <= channels; c += 4) all += at(x + c);
        for (; c < channels; c++) more += x[c];
        float mean = (sum(all) + more) / (float)channels;
        for (c = 0; c + 4 <= channels; c += 4) squares += (at(x + c) - mean) * (at(x + c) - mean);
        for (; c < channels; c++) rest += (x[c] - mean) * (x[c] - mean);
        float scale = 1.0f / __builtin_sqrtf((sum(squares) + rest) / (float)channels + 1e-5f);
        for (c = 0; c < channels; c++) x[c] = (x[c] - mean) * scale * weight[c] + bias[c];
    }
}

// GELU in place, of numbers up to a multiple of 4.
EXPORT(gelu)(float *x, int count) {
    const Four end = four(3.925f), low = four(-3.925f);
    for (int n = 0; n < count; n += 4) {
        Four v = at(x + n);
        Four place = smallest(largest(v * 0.70710678f, low), end);
        Four t = place * place;
        Four over = 1.1283792f +
            t * (0.18455103f +
                t * (0.05433181f +
                    t * (3.8357282e-3f + t * (3.8344672e-4f + t * (4.8036727e-6f + t * -1.377e-8f)))));
        Four under = 1.0f +
            t * (0.49688765f + t * (0.11377847f + t * (0.015448473f + t * (1.3098357e-3f + t * 6.4231397e-5f))));
        Four made = 0.5f * v * (1.0f + place * over / under);
        put(x + n, (Four)((Signs)made & (Signs)(place > low)));
    }
}

// Filter frames in time, by channel: `heard` (kernel - 1 + T, C), taps (kernel, C), out (T, C).
EXPORT(filter)(const float *heard, int frames, int channels, const float *taps, int kernel, float *out) {
    for (int t = 0; t < frames; t++)
        for (int c = 0; c < channels; c++) {
            float all = 0.0f;
            for (int k = 0; k < kernel; k++) all += heard[(t + k) * channels + c] * taps[k * channels + c];
            out[t * channels + c] = all;
        }
}

// Scale rows (R, C) by (C,) in place, and add others.
EXPORT(scale_and_add)(float *x, int rows, int channels, const float *scale, const float *other) {
    for (int r = 0; r < rows; r++, x += channels, other += channels)
        for (int c = 0; c < channels; c++) x[c] = x[c] * scale[c] + other[c];
}

// Add numbers in place.
EXPORT(add)(float *x, const float *other, int count) {
    for (int n = 0; n < count; n++) x[n] += other[n];
}

// Write what the network enters with, for one frame: `entry` mel frames, then the lower bins and how they change.
EXPORT(enter)(const float *mel, int mels, const float *guess, const float *after, int low, float *out) {
    for (int n = 0; n < mels; n++) *out++ = mel[n];
    for (int n = 0; n < low; n++) *out++ = guess[n] / 4.0f + 2.0f;
    for (int n = 0; n < low; n++) *out++ = (after[n] - guess[n]) / 4.0f;
}

// Write the local part's input (patches, 4 patch + 2) for a guess (known,) and that of the next frame.
EXPORT(see)(const float *now, const float *then, int known, int patch, float *out) {
    for (int number = 0; number < known / patch; number++, out += 4 * patch + 2) {
        int first = number * patch - patch / 2;
        float total = 0.0f, later = 0.0f;
        for (int k = 0; k < 2 * patch; k++) {
            int from = first + k < 0 ? 0 : first + k > known - 1 ? known - 1 : first + k;
            out[k] = now[from];
            out[2 * patch + k] = then[from];
            total += now[from];
            later += then[from];
        }
        float mean = total / (float)(2 * patch), next_mean = later / (float)(2 * patch);
        for (int k = 0; k < 4 * patch; k++) out[k] = (out[k] - mean) / 4.0f;
        out[4 * patch] = mean / 4.0f + 2.0f;
        out[4 * patch + 1] = (next_mean - mean) / 4.0f;
    }
}

// Add a row (C,) to every row (R, C), and other rows (R, C).
EXPORT(add_rows)(float *x, int rows, int channels, const float *row, const float *others) {
    for (int r = 0; r < rows; r++, x += channels, others += channels)
        for (int c = 0; c < channels; c++) x[c] = (x[c] + others[c]) + row[c];
}

// Magnitudes from log magnitudes in nepers, in place; those at the floor become 0. Then divide by `by`.
EXPORT(heard)(float *logs, int count, float by) {
    for (int n = 0; n < count; n++) logs[n] = larger((float)exponential(logs[n]) - 3e-6f, 0.0f) / by;
}

// Log magnitudes from lobes, in place.
EXPORT(guessed)(float *lobes, int count) {
    for (int n = 0; n < count; n++) lobes[n] = (float)logarithm(larger(lobes[n], 3e-6f));
}

// Clip a mel's frames (count,) in place to [-1, 1], and write the filters' outputs; return 0 if one is not finite.
COUNT(bands)(float *mel, int count, float range_db, float floor_db, int power, float *out) {
    float floor = (float)exponential((double)floor_db * 0.11512925464970228420);
    for (int n = 0; n < count; n++) {
        if (!(mel[n] - mel[n] == 0.0f)) return 0;
        mel[n] = smaller(larger(mel[n], -1.0f), 1.0f);
        float level_db = (mel[n] + 1.0f) * (range_db / 2.0f) + floor_db;
        float level = (float)exponential((double)(level_db / 20.0f) * 2.3025850929940456840);
        level = larger(level - floor, 0.0f);
        out[n] = power == 2 ? level * level : level;
    }
    return 1;
}

// Find the weights of the lobes (K,) that produce these bands (M,), over-relaxed except in the last two of 66 updates.
// Of each band: where its atoms begin in `ahead` and `back` (M + 1,), and its first atom. `turn` is room for K floats.
EXPORT(lobes)(
    const float *bands, int count, const int *starts, const int *firsts, const float *ahead, const float *back,
    int atoms, float *weight, float *turn
) {
    float loudest = bands[0];
    for (int m = 1; m < count; m++) loudest = larger(loudest, bands[m]);
    for (int k = 0; k < atoms; k++) weight[k] = 1e-3f * loudest;
    for (int number = 0; number < 66; number++) {
        for (int k = 0; k < atoms; k++) turn[k] = 0.0f;
        for (int m = 0; m < count; m++) {
            int size = starts[m + 1] - starts[m], k = 0;
            const float *seen = ahead + starts[m], *given = back + starts[m], *own = weight + firsts[m];
            float *turned = turn + firsts[m], rest = 0.0f;
            Four all = four(0);
            for (; k + 4 <= size; k += 4) all += at(seen + k) * at(own + k);
            for (; k < size; k++) rest += seen[k] * own[k];
            float ratio = bands[m] / larger(sum(all) + rest, 1e-9f);
            for (k = 0; k + 4 <= size; k += 4) put(turned + k, at(turned + k) + at(given + k) * ratio);
            for (; k < size; k++) turned[k] += given[k] * ratio;
        }
        int k = 0;
        for (; k + 4 <= atoms; k += 4) {
            Four by = largest(at(turn + k), four(1e-2f));
            if (number < 64) {
                Four half = __builtin_elementwise_sqrt(by);
                by = by * half * __builtin_elementwise_sqrt(half);
            }
            put(weight + k, at(weight + k) * by);
        }
        for (; k < atoms; k++) {
            float by = larger(turn[k], 1e-2f);
            if (number < 64) by *= __builtin_sqrtf(by) * __builtin_sqrtf(__builtin_sqrtf(by));
            weight[k] *= by;
        }
    }
}

// Sum the lobes: bins (rows,) of weights (K,), by sparse rows; the root of it if the mel holds powers.
EXPORT(spread)(
    const int *starts, const int *columns, const float *values, int rows, const float *weight, int power, float *out
) {
    for (int row = 0; row < rows; row++) {
        float all = 0.0f;
        for (int entry = starts[row]; entry < starts[row + 1]; entry++) all += values[entry] * weight[columns[entry]];
        out[row] = power == 2 ? __builtin_sqrtf(all) : all;
    }
}

// --------------------------------------------------------------------------------------------------------- phase

static int push(float *keys, int *places, int count, float key, int place) {
    int n = count;
    while (n > 0) {
        int above = (n - 1) >> 1;
        if (keys[above] >= key) break;
        keys[n] = keys[above];
        places[n] = places[above];
        n = above;
    }
    keys[n] = key;
    places[n] = place;
    return count + 1;
}

static int pop(float *keys, int *places, int count) {  // count: without the entry that is removed
    int top = places[0], place = places[count], n = 0;
    float key = keys[count];
    while (2 * n + 1 < count) {
        int below = 2 * n + 1;
        if (below + 1 < count && keys[below + 1] > keys[below]) below++;
        if (keys[below] <= key) break;
        keys[n] = keys[below];
        places[n] = places[below];
        n = below;
    }
    keys[n] = key;
    places[n] = place;
    return top;
}

// log(x + 1e-9) of magnitudes.
EXPORT(logs)(const float *magnitude, int count, float *out) {
    for (int n = 0; n < count; n++) out[n] = (float)logarithm(magnitude[n] + 1e-9f);
}

// Integrate the phase (F,) of one frame, as `_follow` does: `past`, `now` and `next` are log magnitudes, `before` and
// `current` magnitudes; phase and turn (F,) are doubles and go on. `room` is 8 F floats.
EXPORT(follow)(
    const float *before, const float *current, const float *past, const float *now, const float *next,
    double *phase, double *turn, int bins, int n_fft, int hop, double by_time, double by_frequency, float *room
) {
    float *keys = room, *step = room + 4 * bins, *open = room + 5 * bins;
    int *places = (int *)(room + 2 * bins);
    double *ahead = (double *)(room + 6 * bins);
    int last = bins - 1, count = 0, left = 0;
    float loudest = 0.0f;
    for (int m = 0; m < bins; m++) loudest = larger(loudest, larger(current[m], before[m]));
    double limit = 1e-3 * (double)loudest;
    for (int m = 0; m < bins; m++) {
        int up = m < last ? m + 1 : last, down = m > 0 ? m - 1 : 0;
        ahead[m] = by_time * (double)(now[up] - now[down]) + TURN * hop * m / n_fft;
        step[m] = (float)(by_frequency * (double)(next[m] - past[m]));
        open[m] = (double)current[m] > limit ? 1.0f : 0.0f;
        if (open[m] != 0.0f) {
            left++;
            count = push(keys, places, count, before[m], m);
        } else {
            phase[m] += TURN * hop * m / n_fft;
        }
    }
    while (left > 0) {
        int place = pop(keys, places, --count);
        if (place < bins) {
            if (open[place] != 0.0f) {
                phase[place] += 0.5 * (turn[place] + ahead[place]);
                open[place] = 0.0f;
                left--;
                count = push(keys, places, count, current[place], place + bins);
            }
            continue;
        }
        int m = place - bins;
        if (m > 0 && open[m - 1] != 0.0f) {
            phase[m - 1] = phase[m] - 0.5 * (double)(step[m] + step[m - 1]);
            open[m - 1] = 0.0f;
            left--;
            count = push(keys, places, count, current[m - 1], place - 1);
        }
        if (m < last && open[m + 1] != 0.0f) {
            phase[m + 1] = phase[m] + 0.5 * (double)(step[m] + step[m + 1]);
            open[m + 1] = 0.0f;
            left--;
            count = push(keys, places, count, current[m + 1], place + 1);
        }
    }
    for (int m = 0; m < bins; m++) {
        phase[m] -= TURN * __builtin_floor(phase[m] / TURN);
        turn[m] = ahead[m];
    }
}

// The whole spectrum (n_fft,) of a real signal from magnitudes and phases (F,). Every other bin is turned by half a
// turn: from a frame's centre to the transform's own origin.
EXPORT(polar)(const float *magnitude, const double *phase, int n_fft, float *re, float *im) {
    for (int m = 0; m <= n_fft / 2; m++) {
        double c, s;
        cosine_and_sine((float)((float)phase[m] + (m & 1 ? 3.14159265358979f : 0.0f)), &c, &s);
        float across = magnitude[m] * (float)c, up = magnitude[m] * (float)s;
        if (m == 0 || 2 * m == n_fft) up = 0.0f;
        re[m] = across;
        im[m] = up;
        if (m > 0) {
            re[n_fft - m] = across;
            im[n_fft - m] = -up;
        }
        if (2 * m == n_fft) im[m] = 0.0f;
    }
}

// Add a windowed frame (n_fft,), divided by n_fft, and the window's square, to samples and weights. Write the first
// `hop` samples that are complete then, and move the rest forward by as much.
EXPORT(overlap)(
    const float *frame, const float *window, int n_fft, int hop, float *samples, float *weight, float *out
) {
    float by = 1.0f / (float)n_fft;
    int open = n_fft - hop;
    for (int n = 0; n < hop; n++) {
        float sample = samples[n] + frame[n] * by * window[n], own = weight[n] + window[n] * window[n];
        out[n] = sample / larger(own, 1e-3f);
    }
    for (int n = hop; n < n_fft; n++) {
        float before = n < open ? samples[n] : 0.0f, held = n < open ? weight[n] : 0.0f;
        samples[n - hop] = before + frame[n] * by * window[n];
        weight[n - hop] = held + window[n] * window[n];
    }
}
