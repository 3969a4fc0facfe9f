#!/usr/bin/env node
// Has a model evaluated and says what it predicts and how fast: node evaluate.js URL [MODEL] [QUERIES]

import { randomBytes } from "node:crypto";
import { connect } from "@nats-io/transport-node";
import { accepted, facts, median, request, subscribe } from "./messages.js";

const NS_PER_MS = 1e6;

async function evaluate(bus, model, queries) {
  const evaluation_id = randomBytes(16).toString("hex");
  const told = subscribe(bus, evaluation_id);
  await bus.flush(); // the server must know of the subscription before the first fact
  const wish = { type: "Evaluate", evaluation_id, user: "javascript", model, queries };
  await request(bus, "evaluate", wish, "Accepted");
  const heard = [];
  for await (const fact of facts(told)) heard.push(fact);
  const end = heard.pop();
  if (end.type === "EvaluationFailed") throw new Error(`${end.kind}: ${end.text}`);
  return { evaluation_id, heard: accepted(heard, end.jobs) };
}

function print({ evaluation_id, heard }) {
  const of = (type) => heard.filter((fact) => fact.type === type);
  console.log(`evaluation ${evaluation_id}`);
  for (const { model, model_version, framework, framework_version } of of("JobStarted")) {
    console.log(`${model} ${model_version} on ${framework} ${framework_version}`);
  }
  for (const { input, classes } of of("PredictionsMade").flatMap((fact) => fact.predictions)) {
    for (const { label, probability } of classes) {
      console.log(`${input}\t${label}\t${probability.toFixed(4)}`);
    }
  }
  // A long run's times come in several messages.
  const durations = new Map();
  for (const { job_id, run, batch_size, durations_ns } of of("RunMeasured")) {
    const key = `${job_id} ${run}`;
    const found = durations.get(key) ?? { batch_size, all: [] };
    found.all = found.all.concat(durations_ns);
    durations.set(key, found);
  }
  for (const { batch_size, all } of durations.values()) {
    const middle = median(all) / NS_PER_MS;
    console.log(`batch ${batch_size}: median ${middle.toFixed(3)} ms of ${all.length} queries`);
  }
}

const [url, model = "EfficientNet-Lite0", queries = "20"] = process.argv.slice(2);
if (!url) {
  console.error("usage: node evaluate.js nats://HOST:PORT [MODEL] [QUERIES]");
  process.exit(2);
}
const bus = await connect({ servers: url, name: "javascript client" });
try {
  print(await evaluate(bus, model, Number(queries)));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  await bus.drain();
}
