/** The value of a command line option as a number above 0. Exits with 2 and an explanation when it is none. */
export function readPositiveOption(name: string, value: string): number {
  const number = Number(value);
  if (Number.isFinite(number) && number > 0) return number;
  process.stderr.write(`--${name} must be a number above 0\n`);
  return process.exit(2);
}
