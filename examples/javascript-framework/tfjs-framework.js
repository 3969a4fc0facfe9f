#!/usr/bin/env node
// TensorFlow.js as a framework: answers the worker's commands until its pipe ends.

import { version_core as version } from "@tensorflow/tfjs-core";
import { Fault } from "./fault.js";
import { readFrame, writeFrame } from "./frames.js";
import { Model } from "./model.js";

const PROTOCOL = 1;
let model = null;

async function answer(command) {
  switch (command.do) {
    case "describe":
      return {
        said: "described",
        protocol: PROTOCOL,
        version,
        devices: ["cpu"],
        providers: ["wasm"],
        durations: true,
        layers: true,
      };
    case "open":
      model = await Model.open(command);
      return { said: "opened", inputs: model.inputs, outputs: model.outputs, settings: model.settings };
    case "predict":
      return { said: "predicted", ...(await model.predict(command.inputs)) };
    case "layers":
      return { said: "layers", ...model.layers() };
    case "close":
      model?.close();
      return { said: "closed" };
    default:
      throw new Fault("request", `unknown command ${command.do}`);
  }
}

for (let command; (command = readFrame()) !== null; ) {
  try {
    writeFrame(await answer(command));
  } catch (error) {
    console.error(error.stack);
    writeFrame({ said: "failed", kind: error.kind ?? "framework", text: error.message });
  }
}
process.exit(0);
