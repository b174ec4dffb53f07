import type { RequestProblem } from '../../shared/api.ts';
import { formatDuration } from '../../shared/format.ts';
import { text } from '../../shared/text.ts';
import type { Test } from './use-test.ts';

/** The frame of a test, or the problem with its remedy. */
export function TestResult({ test, isTesting }: { readonly test: Test | null; readonly isTesting: boolean }) {
  const { form } = text.setup;
  return (
    <div role="status" class="test-result">
      {isTesting ? (
        <div class="note">
          <p>{form.testRuns}</p>
          <progress aria-label={form.testing} />
        </div>
      ) : null}
      {test?.refusal ? <SetupProblem problem={test.refusal} /> : null}
      {test?.result ? <Outcome result={test.result} /> : null}
    </div>
  );
}

function Outcome({ result }: { readonly result: NonNullable<Test['result']> }) {
  const { form } = text.setup;
  const took = formatDuration(result.took_ms / 1000);
  if (result.problem)
    return (
      <div class="note bad">
        <p>
          <strong>{form.testFailed}</strong> {result.problem.detail}
        </p>
        <p class="small">
          {form.remedy} {result.problem.remedy}
        </p>
      </div>
    );
  return (
    <div class="note tested">
      {result.image === null ? null : <img src={result.image} alt={form.testImage} />}
      <div>
        <p>
          <strong>{form.testWorked}</strong>
        </p>
        <p class="small number">
          {form.testFrame(String(result.width_px ?? '?'), String(result.height_px ?? '?'), took)}
        </p>
        {result.notes.map((note) => (
          <p key={note} class="small">
            {note}
          </p>
        ))}
      </div>
    </div>
  );
}

/** Why the agent refused settings: one line for each fault, with the key as people know it. */
export function SetupProblem({ problem }: { readonly problem: RequestProblem | null }) {
  if (problem === null) return null;
  const [first = '', ...faults] = problem.message.split('\n');
  return (
    <div class="note bad" role="alert">
      <p>{first}</p>
      {faults.length === 0 ? null : (
        <ul class="small">
          {faults.map((line) => (
            <li key={line}>{line.replace(/^cameras\[\d+\]\./, '')}</li>
          ))}
        </ul>
      )}
      {problem.hint === '' ? null : <p class="small">{problem.hint}</p>}
    </div>
  );
}
