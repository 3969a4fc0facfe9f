/* A multilayer perceptron as a framework of MLModelScope, in C11 and its library.
 *
 * The weights file, all of it little-endian: "MLP1"; the rank and the sizes of one row of the
 * input; the number of layers; each layer's inputs and outputs, its weights (float32, a row an
 * input) and its biases. Numbers are uint32. Between layers stands ReLU, at the end softmax.
 */
#define _POSIX_C_SOURCE 200809L

#include "messagepack.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors travel little-endian: on this machine their bytes would have to be turned round"
#endif

enum {
    PROTOCOL = 1,
    MAX_FRAME_BYTES = 256 << 20,
    MAX_RANK = 8,
    MAX_LAYERS = 64,
    MAX_WIDTH = 1 << 16,
    PATH_BYTES = 4096,
};

struct layer {
    uint32_t inputs, outputs;
    float *weights, *biases;
};

struct model {
    uint32_t rank, sizes[MAX_RANK], row, widest, layer_count;
    struct layer layers[MAX_LAYERS];
};

/* Whose fault, and what: the answer to a command that could not be done. */
struct fault {
    const char *kind, *text;
};

static const struct fault FINE = {NULL, NULL};

/* ------------------------------------------------------------------ the model */

static void forget(struct model *model)
{
    for (uint32_t i = 0; i < model->layer_count; i++) {
        free(model->layers[i].weights);
        free(model->layers[i].biases);
    }
    memset(model, 0, sizeof *model);
}

static bool read_numbers(FILE *file, uint32_t *numbers, size_t count, uint32_t most)
{
    if (fread(numbers, sizeof *numbers, count, file) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (numbers[i] == 0 || numbers[i] > most)
            return false;
    return true;
}

static float *read_floats(FILE *file, size_t count)
{
    float *values = malloc(count * sizeof *values);
    if (values && fread(values, sizeof *values, count, file) == count)
        return values;
    free(values);
    return NULL;
}

static bool read_layer(FILE *file, struct model *model, uint32_t wanted_inputs)
{
    uint32_t shape[2];
    if (!read_numbers(file, shape, 2, MAX_WIDTH) || shape[0] != wanted_inputs)
        return false;
    struct layer *layer = &model->layers[model->layer_count++];
    layer->inputs = shape[0];
    layer->outputs = shape[1];
    layer->weights = read_floats(file, (size_t)shape[0] * shape[1]);
    layer->biases = read_floats(file, shape[1]);
    if (shape[1] > model->widest)
        model->widest = shape[1];
    return layer->weights && layer->biases;
}

static bool read_model(FILE *file, struct model *model)
{
    char magic[4];
    uint32_t count;
    if (fread(magic, 1, 4, file) != 4 || memcmp(magic, "MLP1", 4))
        return false;
    if (!read_numbers(file, &model->rank, 1, MAX_RANK))
        return false;
    if (!read_numbers(file, model->sizes, model->rank, MAX_WIDTH))
        return false;
    uint64_t row = 1;
    for (uint32_t i = 0; i < model->rank; i++)
        if ((row *= model->sizes[i]) > MAX_WIDTH)
            return false;
    model->row = model->widest = (uint32_t)row;
    if (!read_numbers(file, &count, 1, MAX_LAYERS))
        return false;
    for (uint32_t i = 0, width = model->row; i < count; i++) {
        if (!read_layer(file, model, width))
            return false;
        width = model->layers[i].outputs;
    }
    return fgetc(file) == EOF;
}

static void apply(const struct layer *layer, const float *in, float *out, bool is_last)
{
    memcpy(out, layer->biases, layer->outputs * sizeof *out);
    for (uint32_t i = 0; i < layer->inputs; i++)
        for (uint32_t o = 0; o < layer->outputs; o++)
            out[o] += in[i] * layer->weights[(size_t)i * layer->outputs + o];
    for (uint32_t o = 0; !is_last && o < layer->outputs; o++)
        out[o] = out[o] > 0 ? out[o] : 0;
}

static void softmax(const float *in, float *out, uint32_t count)
{
    float most = in[0], sum = 0;
    for (uint32_t i = 1; i < count; i++)
        most = in[i] > most ? in[i] : most;
    for (uint32_t i = 0; i < count; i++)
        sum += out[i] = expf(in[i] - most);
    for (uint32_t i = 0; i < count; i++)
        out[i] /= sum;
}

/* One row in, probabilities out; `a` and `b` have room for the widest layer. */
static void run(const struct model *model, const uint8_t *row, float *out, float *a, float *b)
{
    memcpy(a, row, model->row * sizeof *a); /* the bytes may begin anywhere in the frame */
    for (uint32_t i = 0; i < model->layer_count; i++) {
        apply(&model->layers[i], a, b, i + 1 == model->layer_count);
        float *done = b;
        b = a;
        a = done;
    }
    softmax(a, out, model->layers[model->layer_count - 1].outputs);
}

/* ------------------------------------------------------------------ the commands */

static void say(struct writer *answer, const char *said, uint32_t more_pairs)
{
    put_map(answer, 1 + more_pairs);
    put_text(answer, "said");
    put_text(answer, said);
}

static struct fault describe(struct writer *answer)
{
    say(answer, "described", 4);
    put_text(answer, "protocol");
    put_whole(answer, PROTOCOL);
    put_text(answer, "version");
    put_text(answer, "1.0.0");
    put_text(answer, "devices");
    put_array(answer, 1);
    put_text(answer, "cpu");
    put_text(answer, "durations");
    put_true(answer);
    return FINE;
}

/* The only setting is `threads`, and one thread is all there is. */
static bool settings_are_known(struct reader command)
{
    struct reader settings;
    if (!find(command, "settings", &settings))
        return true;
    struct item head = next(&settings);
    for (uint64_t i = 0; head.kind == MAP && i < head.count; i++) {
        struct item name = next(&settings), value = next(&settings);
        bool is_one = (value.kind == WHOLE && (value.whole == 0 || value.whole == 1)) ||
                      is_text(value, "0") || is_text(value, "1");
        if (!is_text(name, "threads") || !is_one)
            return false;
    }
    return head.kind == MAP;
}

static void put_declared(struct writer *answer, const char *what, const char *name,
                         const uint32_t *sizes, uint32_t rank)
{
    put_text(answer, what);
    put_array(answer, 1);
    put_map(answer, 3);
    put_text(answer, "name");
    put_text(answer, name);
    put_text(answer, "dtype");
    put_text(answer, "float32");
    put_text(answer, "shape");
    put_array(answer, 1 + rank);
    put_text(answer, "batch");
    for (uint32_t i = 0; i < rank; i++)
        put_whole(answer, sizes[i]);
}

static struct fault open_model(struct model *model, struct reader command, struct writer *answer)
{
    struct reader at;
    if (!find(command, "device", &at) || !is_text(next(&at), "cpu"))
        return (struct fault){"framework", "there is no device but cpu"};
    if (!settings_are_known(command))
        return (struct fault){"request", "the only setting is threads, which is 1"};
    if (!find(command, "files", &at) || !find(at, "graph", &at))
        return (struct fault){"request", "open names no file `graph`"};
    struct item name = next(&at);
    char path[PATH_BYTES];
    if (name.kind != TEXT || name.count >= sizeof path)
        return (struct fault){"request", "the path of the graph is no text, or too long"};
    memcpy(path, name.data, name.count);
    path[name.count] = 0;
    FILE *file = fopen(path, "rb");
    if (!file)
        return (struct fault){"asset", "the weights file cannot be opened"};
    forget(model);
    bool is_good = read_model(file, model);
    fclose(file);
    if (!is_good) {
        forget(model);
        return (struct fault){"asset", "the weights file is damaged, or not of the format MLP1"};
    }
    say(answer, "opened", 3);
    put_declared(answer, "inputs", "input", model->sizes, model->rank);
    put_declared(answer, "outputs", "probabilities",
                 &model->layers[model->layer_count - 1].outputs, 1);
    put_text(answer, "settings");
    put_map(answer, 2);
    put_text(answer, "device");
    put_text(answer, "cpu");
    put_text(answer, "threads");
    put_whole(answer, 1);
    return FINE;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct fault predict(const struct model *model, struct reader command, struct writer *answer)
{
    struct reader input, at;
    if (!model->layer_count)
        return (struct fault){"request", "no model is open"};
    if (!find(command, "inputs", &input) || !find(input, "input", &input) ||
        !find(input, "data", &at))
        return (struct fault){"request", "predict has no tensor `input`"};
    struct item data = next(&at);
    if (!find(input, "dtype", &at) || !is_text(next(&at), "float32"))
        return (struct fault){"request", "the tensor `input` is not of dtype float32"};
    size_t row_bytes = model->row * sizeof(float);
    if (data.kind != BYTES || data.count == 0 || data.count % row_bytes)
        return (struct fault){"request", "the tensor `input` does not hold whole rows"};
    uint32_t rows = (uint32_t)(data.count / row_bytes);
    uint32_t width = model->layers[model->layer_count - 1].outputs;
    if ((uint64_t)rows * width * sizeof(float) > MAX_FRAME_BYTES / 2)
        return (struct fault){"request", "so many rows do not fit into one answer"};

    int64_t start_ns = now_ns();
    float *out = malloc((size_t)rows * width * sizeof *out);
    float *scratch = malloc(2 * (size_t)model->widest * sizeof *scratch);
    if (!out || !scratch)
        abort();
    for (uint32_t row = 0; row < rows; row++)
        run(model, data.data + row * row_bytes, out + (size_t)row * width, scratch,
            scratch + model->widest);
    int64_t duration_ns = now_ns() - start_ns;

    say(answer, "predicted", 2);
    put_text(answer, "duration_ns");
    put_whole(answer, duration_ns);
    put_text(answer, "outputs");
    put_array(answer, 1);
    put_map(answer, 3);
    put_text(answer, "dtype");
    put_text(answer, "float32");
    put_text(answer, "shape");
    put_array(answer, 2);
    put_whole(answer, rows);
    put_whole(answer, width);
    put_text(answer, "data");
    put_bytes(answer, out, (uint32_t)((size_t)rows * width * sizeof *out));
    free(out);
    free(scratch);
    return FINE;
}

static void obey(struct model *model, struct reader command, struct writer *answer)
{
    struct reader at;
    struct fault fault = {"request", "unknown command"};
    struct item what = {BROKEN, 0, 0, NULL};
    if (find(command, "do", &at))
        what = next(&at);
    if (is_text(what, "describe")) {
        fault = describe(answer);
    } else if (is_text(what, "open")) {
        fault = open_model(model, command, answer);
    } else if (is_text(what, "predict")) {
        fault = predict(model, command, answer);
    } else if (is_text(what, "close")) {
        forget(model);
        say(answer, "closed", 0);
        fault = FINE;
    }
    if (!fault.kind)
        return;
    say(answer, "failed", 2);
    put_text(answer, "kind");
    put_text(answer, fault.kind);
    put_text(answer, "text");
    put_text(answer, fault.text);
}

/* ------------------------------------------------------------------ the pipe */

/* 1: a frame in *frame; 0: the worker has gone; -1: the bytes are no frame. */
static int read_frame(uint8_t **frame, uint32_t *size)
{
    uint8_t head[4];
    if (fread(head, 1, 4, stdin) != 4)
        return 0;
    *size = (uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3];
    if (*size == 0 || *size > MAX_FRAME_BYTES)
        return -1;
    uint8_t *grown = realloc(*frame, *size);
    if (!grown)
        return -1;
    *frame = grown;
    return fread(grown, 1, *size, stdin) == *size ? 1 : 0;
}

static bool write_frame(const struct writer *answer)
{
    uint32_t size = (uint32_t)answer->size;
    uint8_t head[4] = {(uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8),
                       (uint8_t)size};
    return fwrite(head, 1, 4, stdout) == 4 &&
           fwrite(answer->data, 1, answer->size, stdout) == answer->size && !fflush(stdout);
}

int main(void)
{
    static struct model model;
    struct writer answer = {NULL, 0, 0};
    uint8_t *frame = NULL;
    uint32_t size;
    int got;
    while ((got = read_frame(&frame, &size)) == 1) {
        answer.size = 0;
        obey(&model, (struct reader){frame, frame + size}, &answer);
        if (!write_frame(&answer))
            break;
    }
    if (got < 0)
        fprintf(stderr, "a frame of %u bytes; 1 to %d are expected\n", size, MAX_FRAME_BYTES);
    forget(&model);
    free(answer.data);
    free(frame);
    return got < 0 ? 2 : 0;
}
