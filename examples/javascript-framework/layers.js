// Times each kernel that TensorFlow.js runs: every one of a backend's kernels is wrapped once.

import * as tf from "@tensorflow/tfjs-core";

const MAX_ROWS = 2_000_000;

export class Recorder {
  constructor(backend) {
    this.backend = backend;
    this.calls = -1;
    this.rows = { call: [], layer: [], starts_ns: [], durations_ns: [] };
    this.table = [];
    this.numbers = new Map();
    this.lost = 0;
    for (const kernel of tf.getKernelsForBackend(backend)) {
      tf.unregisterKernel(kernel.kernelName, backend);
      tf.registerKernel({ ...kernel, kernelFunc: (given) => this.run(kernel, given) });
    }
  }

  begin() {
    this.calls += 1;
    this.place = 0;
    this.depth = 0;
    this.began = process.hrtime.bigint();
  }

  run({ kernelName, kernelFunc }, given) {
    if (this.calls < 0) return kernelFunc(given); // while the model is being loaded
    this.depth += 1;
    const start = process.hrtime.bigint();
    const made = kernelFunc(given);
    const end = process.hrtime.bigint();
    this.depth -= 1;
    // Kernels call kernels: the outer one's time holds theirs.
    if (this.depth === 0) this.keep(kernelName, given, made, start - this.began, end - start);
    return made;
  }

  keep(operator, given, made, since, took) {
    if (this.rows.call.length === MAX_ROWS) {
      this.lost += 1;
      return;
    }
    this.rows.call.push(BigInt(this.calls));
    this.rows.layer.push(BigInt(this.number(operator, given.inputs, [made].flat())));
    this.rows.starts_ns.push(since);
    this.rows.durations_ns.push(took);
  }

  /** The row of the table for the kernel at this place of a prediction. */
  number(operator, inputs, outputs) {
    const name = `${this.place}_${operator}`;
    this.place += 1;
    const found = this.numbers.get(name);
    if (found !== undefined) return found;
    const number = this.table.length;
    this.numbers.set(name, number);
    this.table.push({
      name,
      operator,
      provider: this.backend,
      inputs: Object.values(inputs).flat().filter(Boolean).map(about),
      outputs: outputs.map(about),
      output_bytes: outputs.reduce((sum, each) => sum + bytes(each), 0),
    });
    return number;
  }

  read() {
    const columns = Object.entries(this.rows).map(([name, values]) => {
      return [name, new Uint8Array(BigInt64Array.from(values).buffer)];
    });
    const reason = this.lost ? `only ${MAX_ROWS} kernel calls are kept; ask for fewer queries` : "";
    return { table: this.table, ...Object.fromEntries(columns), lost: this.lost, reason };
  }
}

function about({ dtype, shape }) {
  return { dtype, shape };
}

function bytes({ dtype, shape }) {
  return shape.reduce((product, size) => product * size, dtype === "bool" ? 1 : 4);
}
