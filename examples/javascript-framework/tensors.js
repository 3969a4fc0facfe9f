// Tensors of the protocol (dtype, shape, raw little-endian bytes) and of TensorFlow.js.

import * as tf from "@tensorflow/tfjs-core";
import { Fault } from "./fault.js";

// TensorFlow.js computes in three types; narrower whole numbers are widened on their way in.
const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array, bool: Uint8Array };
const DTYPES = { float32: "float32", int32: "int32", uint8: "int32", bool: "bool" };

const SIGNATURE_DTYPES = { DT_FLOAT: "float32", DT_INT32: "int32", DT_UINT8: "uint8", DT_BOOL: "bool" };

/** The inputs or outputs of a model's signature, as `opened` says them; "?" is a free size. */
export function declared(tensors) {
  return Object.values(tensors).map(({ name, dtype, tensorShape }) => {
    const known = SIGNATURE_DTYPES[dtype];
    if (known === undefined) throw new Fault("asset", `${name} is ${dtype}, which cannot be sent`);
    const sizes = (tensorShape?.dim ?? []).map(({ size }) => (Number(size) < 0 ? "?" : Number(size)));
    return { name: name.replace(/:0$/, ""), dtype: known, shape: sizes };
  });
}

export function toTensor({ dtype, shape, data }) {
  const Values = ARRAYS[dtype];
  if (Values === undefined) throw new Fault("request", `tensors of dtype ${dtype} are not taken`);
  // The bytes may begin anywhere in the frame; typed arrays begin at multiples of their size.
  const aligned = data.byteOffset % Values.BYTES_PER_ELEMENT === 0 ? data : new Uint8Array(data);
  const values = new Values(aligned.buffer, aligned.byteOffset, data.length / Values.BYTES_PER_ELEMENT);
  return tf.tensor(values, shape, DTYPES[dtype]);
}

export function fromTensor(tensor, values) {
  const data = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { dtype: tensor.dtype, shape: tensor.shape, data };
}
