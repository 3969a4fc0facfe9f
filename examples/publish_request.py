"""Gets an evaluation done with nothing but nats-py and msgpack: python publish_request.py URL."""

import asyncio
import sys
import uuid

import msgpack
import nats


async def main(url: str, model: str) -> None:
    bus = await nats.connect(url)
    evaluation_id = uuid.uuid4().hex
    facts = await bus.subscribe(f"mlms.v1.fact.*.anonymous.{evaluation_id}.*")
    request = {"type": "Evaluate", "evaluation_id": evaluation_id, "model": model, "queries": 20}
    ask = "mlms.v1.request.evaluate.anonymous"
    reply = await bus.request(ask, msgpack.packb(request), timeout=10)
    print(msgpack.unpackb(reply.data))
    async for message in facts.messages:
        fact = msgpack.unpackb(message.data)
        if fact["type"] == "PredictionsMade":
            for prediction in fact["predictions"]:
                print(prediction["input"], prediction["classes"][0])
        if fact["type"] in ("EvaluationFinished", "EvaluationFailed"):
            break
    print(fact)
    await bus.close()


asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "EfficientNet-Lite0"))
