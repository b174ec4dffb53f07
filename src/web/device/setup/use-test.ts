import { useEffect, useState } from 'preact/hooks';
import type { CameraTestResult } from '../../../contract/camera-test.ts';
import { jsonBody, RequestProblem, requestJson } from '../../shared/api.ts';

/** The outcome of a test, or why there was none. */
export interface Test {
  readonly result: CameraTestResult | null;
  readonly refusal: RequestProblem | null;
}

/** Tests of a camera, one at a time. The test ends with the form. */
export function useTest() {
  const [test, setTest] = useState<Test | null>(null);
  const [stop, setStop] = useState<AbortController | null>(null);
  useEffect(() => () => stop?.abort(), [stop]);
  const runTest = async (camera: object): Promise<void> => {
    const controller = new AbortController();
    setStop(controller);
    setTest(null);
    try {
      const init = { ...jsonBody('POST', { camera }), signal: controller.signal };
      const result = await requestJson<CameraTestResult>('/api/v1/cameras/test', init);
      setTest({ result, refusal: null });
    } catch (thrown) {
      if (thrown instanceof RequestProblem) setTest({ result: null, refusal: thrown });
      else if (!controller.signal.aborted) throw thrown;
    }
    setStop((current) => (current === controller ? null : current));
  };
  return { test, isTesting: stop !== null, runTest };
}
