// Frames on standard input and output: a 4-byte big-endian length, then one MessagePack map.

import { readSync, writeSync } from "node:fs";
import { Encoder, decode } from "@msgpack/msgpack";

const STDIN = 0;
const STDOUT = 1;
const MAX_FRAME_BYTES = 256 * 1024 * 1024;

// Standard output belongs to the frames: whatever a library prints goes to standard error.
console.log = console.info = console.debug = console.error;

const encoder = new Encoder({ ignoreUndefined: true, initialBufferSize: 1 << 16 });

/** The next command, or null when the worker has gone. */
export function readFrame() {
  const header = read(4);
  if (header === null) return null;
  const length = header.readUInt32BE(0);
  if (length > MAX_FRAME_BYTES) {
    throw new Error(`a frame of ${length} bytes; at most ${MAX_FRAME_BYTES} are accepted`);
  }
  const body = read(length);
  return body === null ? null : decode(body);
}

export function writeFrame(message) {
  const body = encoder.encodeSharedRef(message);
  const header = Buffer.alloc(4);
  header.writeUInt32BE(body.length, 0);
  write(header);
  write(body);
}

function read(count) {
  const data = Buffer.allocUnsafe(count);
  for (let at = 0; at < count; ) {
    const got = readSync(STDIN, data, at, count - at, null);
    if (got === 0) return null;
    at += got;
  }
  return data;
}

function write(data) {
  for (let at = 0; at < data.length; ) at += writeSync(STDOUT, data, at, data.length - at);
}
