/** What an execution provider may use. docs/providers.md explains the numbers and says which of them were measured. */
export interface ProviderLimits {
  /** Resident memory that its libraries need in addition to `inference.maxRssMb`, MiB. */
  readonly extraMemoryMb: number;
  /** Time limit of the first trial of a model, seconds. The library may compile the model and store the result. */
  readonly trialTimeS: number;
}

/**
 * Time limit of every later start, seconds, whatever the provider. After a crash of the vision process the agent cannot analyse
 * frames for that time, and `src/health/liveness.ts` restarts the agent if it takes much longer.
 */
export const MAX_START_TIME_S = 60;

const LIMITS: Readonly<Record<string, ProviderLimits>> = {
  cpu: { extraMemoryMb: 0, trialTimeS: MAX_START_TIME_S },
  cuda: { extraMemoryMb: 2048, trialTimeS: 600 },
  tensorrt: { extraMemoryMb: 3072, trialTimeS: 900 },
};
/** WebGPU, Core ML, DirectML and others: a driver with its shader compiler. */
const OTHER_LIMITS: ProviderLimits = { extraMemoryMb: 512, trialTimeS: 300 };

/** The limits of a provider. Accepts all names that `normalizeProviderName` accepts. */
export const providerLimits = (provider: string): ProviderLimits =>
  LIMITS[normalizeProviderName(provider)] ?? OTHER_LIMITS;

/** onnxruntime-node's name of a provider. Also accepts the names of the Python API, such as `CUDAExecutionProvider`. */
export function normalizeProviderName(name: string): string {
  return name
    .trim()
    .replace(/ExecutionProvider$/i, '')
    .toLowerCase();
}

export interface MemoryLimits {
  /** Resident memory above which the agent replaces a serving process and refuses a provider on trial, MiB. */
  readonly replaceAboveMb: number;
  /** Resident memory at which the process kills itself, MiB. */
  readonly killAboveMb: number;
}

/**
 * The limits of a process that runs a model on `provider`. `maxRssMb` is the configured limit without the libraries of the
 * provider, `availableMb` the memory that the process may use at most; both in MiB.
 */
export function memoryLimits(provider: string, maxRssMb: number, availableMb = Infinity): MemoryLimits {
  const { extraMemoryMb } = providerLimits(provider);
  return {
    replaceAboveMb: Math.min(maxRssMb + extraMemoryMb, availableMb),
    killAboveMb: Math.min(2 * maxRssMb + extraMemoryMb, availableMb),
  };
}

/**
 * Memory that the libraries of the smallest of these providers need, MiB; 0 if the list is undefined, because then the CPU
 * may run the model.
 */
export const minExtraMemoryMb = (providers: readonly string[] | undefined): number =>
  providers === undefined || providers.length === 0
    ? 0
    : Math.min(...providers.map((provider) => providerLimits(provider).extraMemoryMb));
