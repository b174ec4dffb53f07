import type { Tensor } from 'onnxruntime-node';
import { AgentError } from '../../base/errors.ts';
import { fromHalf } from './half.ts';
import type { Values } from './preprocess.ts';

/**
 * A model's output as float32. Throws `vision_output_invalid` for text, and for NaN or infinity, which onnxruntime
 * passes on in silence.
 */
export function tensorValues(ref: string, tensor: Tensor): Values {
  const values = { data: asFloat32(ref, tensor), dims: tensor.dims };
  for (const value of values.data) {
    if (!Number.isFinite(value)) {
      throw new AgentError('vision_output_invalid', `output ${ref} holds ${value}`, { context: { ref } });
    }
  }
  return values;
}

function asFloat32(ref: string, tensor: Tensor): Float32Array {
  const data = tensor.data;
  if (data instanceof Float32Array) return data;
  if (tensor.type === 'float16' && data instanceof Uint16Array) return fromHalf(data);
  if (Array.isArray(data)) {
    throw new AgentError('vision_output_invalid', `output ${ref} is text`, { context: { ref } });
  }
  const values = new Float32Array(data.length);
  for (let i = 0; i < data.length; i++) values[i] = Number(data[i]);
  return values;
}
