// One TensorFlow.js graph model: its files as weights in memory, its predictions, its layers.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, sep } from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import { loadGraphModel } from "@tensorflow/tfjs-converter";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";
import { Fault } from "./fault.js";
import { Recorder } from "./layers.js";
import { declared, fromTensor, toTensor } from "./tensors.js";

const BACKEND = "wasm";
const THREADS = 1; // WebAssembly threads need a browser's workers

export class Model {
  static async open({ files, device, settings, profile, outputs }) {
    if (device !== "cpu") throw new Fault("framework", `there is no device ${device}; ask for cpu`);
    for (const [name, value] of Object.entries(settings)) {
      if (name !== "threads") throw new Fault("request", `unknown setting ${name}; known: threads`);
      if (Number(value) > THREADS) {
        throw new Fault("request", `threads is ${value}; this backend has ${THREADS}`);
      }
    }
    const require = createRequire(import.meta.url);
    setWasmPaths(dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + sep);
    setThreadsCount(THREADS);
    await tf.setBackend(BACKEND);
    const recorder = profile ? new Recorder(BACKEND) : null;
    return new Model(await load(files), outputs, recorder);
  }

  constructor(graph, wanted, recorder) {
    this.graph = graph;
    this.recorder = recorder;
    this.flows = false;
    const { inputs, outputs } = graph.modelSignature ?? {};
    if (!inputs || !outputs) throw new Fault("asset", "the model has no signature");
    this.inputs = declared(inputs);
    this.outputs = chosen(declared(outputs), wanted);
    this.settings = { device: "cpu", backend: BACKEND, threads: THREADS };
  }

  async predict(inputs) {
    const fed = Object.fromEntries(this.inputs.map(({ name }) => [name, toTensor(inputs[name])]));
    this.recorder?.begin();
    const start = process.hrtime.bigint();
    const names = this.outputs.map(({ name }) => name);
    const tensors = [await this.compute(fed, names)].flat();
    // Reading the values waits for whatever the backend has not computed yet.
    const values = await Promise.all(tensors.map((tensor) => tensor.data()));
    const took = process.hrtime.bigint() - start;
    const outputs = tensors.map((tensor, index) => fromTensor(tensor, values[index]));
    tf.dispose([fed, tensors]);
    return { outputs, duration_ns: Number(took) };
  }

  /** At once where the graph allows it; one with control flow must be waited for. */
  async compute(fed, names) {
    if (!this.flows) {
      try {
        return this.graph.execute(fed, names);
      } catch (error) {
        if (!error.message.includes("executeAsync")) throw error;
        this.flows = true;
      }
    }
    return this.graph.executeAsync(fed, names);
  }

  layers() {
    return this.recorder.read();
  }

  close() {
    this.graph.dispose();
  }
}

/** The outputs that the manifest names, or all of them: what nobody reads is not computed. */
function chosen(outputs, wanted) {
  const names = wanted.map(({ name }) => name).filter(Boolean);
  for (const name of names) {
    if (outputs.some((output) => output.name === name)) continue;
    const known = outputs.map((output) => output.name).join(", ");
    throw new Fault("request", `the model has no output ${name}; known: ${known}`);
  }
  return names.length ? names.map((name) => outputs.find((output) => output.name === name)) : outputs;
}

async function load({ graph, weights }) {
  const load = () => {
    const { modelTopology, weightsManifest, signature, userDefinedMetadata } = JSON.parse(
      readFileSync(graph, "utf8"),
    );
    const weightSpecs = weightsManifest.flatMap((group) => group.weights);
    const data = readFileSync(weights);
    const weightData = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
    return { modelTopology, weightSpecs, weightData, signature, userDefinedMetadata };
  };
  try {
    return await loadGraphModel({ load: async () => load() });
  } catch (error) {
    throw new Fault("asset", `the model in ${graph} cannot be loaded: ${error.message}`);
  }
}
