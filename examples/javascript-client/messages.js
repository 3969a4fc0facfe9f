// Requests and facts of docs/messages.md: MessagePack maps over NATS.

import { decode, encode } from "@msgpack/msgpack";

const ROOT = "mlms.v1";
const TIMEOUT_MS = 10_000;

/** The answer to a request; an Error where it is none of the expected messages. */
export async function request(bus, name, message, ...expected) {
  const reply = await bus.request(`${ROOT}.request.${name}.${message.user ?? "anonymous"}`, encode(message), { timeout: TIMEOUT_MS });
  const answer = decode(reply.data);
  if (!expected.includes(answer.type)) {
    throw new Error(`${answer.type}: ${answer.text ?? JSON.stringify(answer)}`);
  }
  return answer;
}

/** Every fact of one evaluation as it is told, up to its end. */
export async function* facts(subscription) {
  for await (const { data } of subscription) {
    const fact = decode(data);
    yield fact;
    if (fact.type === "EvaluationFinished" || fact.type === "EvaluationFailed") return;
  }
}

export function subscribe(bus, evaluationId) {
  return bus.subscribe(`${ROOT}.fact.*.*.${evaluationId}.*`);
}

/**
 * What counts of the facts heard: a job that was lost with its node is attempted again, and
 * `outcomes` (of EvaluationFinished) names the attempt of each job that was accepted.
 */
export function accepted(heard, outcomes) {
  const attempts = new Map(outcomes.map(({ job_id, attempt }) => [job_id, attempt]));
  return heard.filter(({ job_id, attempt }) => attempts.get(job_id) === attempt);
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
