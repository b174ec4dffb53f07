// Compares the locked versions of all packages that are shipped with the advisories of the package registry. Needs the
// registry: without it, or with one that has no advisories, this check says so and passes. Exit code 1 names packages with
// advisories of severity moderate or higher. Also used alone: node scripts/check/vulnerabilities.ts
import { spawnSync } from 'node:child_process';
import { ROOT } from './run-program.ts';

interface Advisory {
  readonly title: string;
  readonly url: string;
}

interface VulnerablePackage {
  readonly name: string;
  readonly severity: string;
  /** Advisories, or names of the packages through which this one is affected. */
  readonly via: readonly (Advisory | string)[];
}

/** The output of `npm audit --json`: a report, or the failure of the request. */
interface Audit {
  readonly message?: string;
  readonly vulnerabilities?: Readonly<Record<string, VulnerablePackage>>;
  readonly metadata?: { readonly dependencies: { readonly total: number } };
}

const TIMEOUT_MS = 60_000;
const REPORTED = new Set(['moderate', 'high', 'critical']);

const args = ['audit', '--omit=dev', '--json', '--fetch-retries=0'];
const { stdout } = spawnSync('npm', args, { cwd: ROOT, encoding: 'utf8', timeout: TIMEOUT_MS });
const audit = readAudit(stdout);
if (audit.vulnerabilities === undefined) {
  console.log(`known vulnerabilities: not checked, because of the registry: ${audit.message ?? 'no answer'}`);
  process.exit(0);
}
const vulnerable = Object.values(audit.vulnerabilities).filter(({ severity }) => REPORTED.has(severity));
for (const { name, severity, via } of vulnerable) {
  const reasons = via.map((one) => (typeof one === 'string' ? `through ${one}` : `${one.title} ${one.url}`));
  console.log(`${name}: ${severity}: ${reasons.join('; ')}`);
}
const total = audit.metadata?.dependencies.total ?? 0;
console.log(`known vulnerabilities: ${vulnerable.length} of ${total} locked packages`);
process.exit(vulnerable.length === 0 ? 0 : 1);

/** `json` is empty when npm is missing or was too slow. */
function readAudit(json: string): Audit {
  try {
    return JSON.parse(json) as Audit;
  } catch {
    return {};
  }
}
