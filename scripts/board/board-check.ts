import type { ToolResult } from '../image/run-tool.ts';

export interface BoardCheck {
  readonly name: string;
  readonly isPassed: boolean;
  readonly detail: string;
}

interface DoctorReport {
  readonly checks: readonly { readonly check: string; readonly state: string; readonly detail: string }[];
}

/** One check for each wanted one of the output of `doctor --json`: it is there, and did not fail. */
export function checkDoctor(doctor: ToolResult, wanted: readonly string[]): readonly BoardCheck[] {
  const findings = (parseJson(doctor.stdout) as DoctorReport | null)?.checks ?? [];
  return wanted.map((name) => {
    const found = findings.filter(({ check }) => check === name);
    return {
      name: `doctor: ${name}`,
      isPassed: found.length > 0 && found.every(({ state }) => state !== 'fail'),
      detail: found.length > 0 ? found.map(({ detail }) => detail).join('; ') : endOf(doctor),
    };
  });
}

/** Null for a text that is not JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export const endOf = ({ exitCode, stdout, stderr }: ToolResult): string =>
  `exit code ${exitCode}: ${`${stdout}\n${stderr}`.trim().split('\n').slice(-5).join('\n')}`;
