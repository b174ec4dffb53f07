import { jsonBody, requestJson } from '../../shared/api.ts';
import { readStatus } from '../device-store.ts';

/** Sends a request that changes the models. Operations without arguments refuse a body. */
export async function post<T>(
  operation: 'abort' | 'install' | 'reload' | 'rollback',
  body?: unknown,
): Promise<T> {
  const init = body === undefined ? { method: 'POST' } : jsonBody('POST', body);
  const result = await requestJson<T>(`/api/v1/models/${operation}`, init);
  await readStatus();
  return result;
}
