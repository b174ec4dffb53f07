import type { BoardName } from './board.ts';
import type { HardwareFacts } from './facts.ts';

/** What a Jetson is. A fact that no file shows is null. */
export interface Jetson extends BoardName {
  /** Part number and name of the module, such as `p3767-0005 Jetson Orin Nano 8GB (developer kit)`. */
  readonly module: string | null;
  /** Such as `tegra234`. */
  readonly soc: string | null;
  /** Version of Jetson Linux, such as `36.4.3`. */
  readonly l4t: string | null;
  readonly jetpack: string | null;
  /** CUDA compute capability of the GPU, such as `8.7`. */
  readonly computeCapability: string | null;
  /** Architecture of the GPU, such as `Ampere (Orin)`. */
  readonly gpu: string;
}

interface Soc {
  /** Value of /sys/devices/soc0/soc_id: the chip id of the fuses. Source: Linux include/soc/tegra/fuse.h. */
  readonly socId: string;
  readonly gpu: string;
  /** Source: NVIDIA, CUDA GPU compute capability. */
  readonly computeCapability: string;
  readonly family: string;
}

const SOCS: Readonly<Record<string, Soc>> = {
  tegra210: { socId: '33', gpu: 'Maxwell (Tegra X1)', computeCapability: '5.3', family: 'nano' },
  tegra186: { socId: '24', gpu: 'Pascal (Tegra X2)', computeCapability: '6.2', family: 'tx2' },
  tegra194: { socId: '25', gpu: 'Volta (Xavier)', computeCapability: '7.2', family: 'xavier' },
  tegra234: { socId: '35', gpu: 'Ampere (Orin)', computeCapability: '8.7', family: 'orin' },
  tegra264: { socId: '38', gpu: 'Blackwell (Thor)', computeCapability: '11.0', family: 'thor' },
};

interface Module {
  readonly board: BoardName;
  readonly soc: string;
  /** What the part number adds to the name of the board. */
  readonly detail: string;
}

const board = (id: string, name: string): BoardName => ({ id: `jetson_${id}`, name: `Jetson ${name}` });
const NANO = board('nano', 'Nano');
const TX2 = board('tx2', 'TX2');
const AGX_XAVIER = board('agx_xavier', 'AGX Xavier');
const XAVIER_NX = board('xavier_nx', 'Xavier NX');
const AGX_ORIN = board('agx_orin', 'AGX Orin');
const ORIN_NX = board('orin_nx', 'Orin NX');
const ORIN_NANO = board('orin_nano', 'Orin Nano');
const THOR = board('thor', 'AGX Thor');

/** Modules by part number. The compatible list also contains the part number of the carrier board. Source: NVIDIA Jetson Linux developer guide. */
const MODULES: Readonly<Record<string, Module>> = {
  'p3448-0000': { board: NANO, soc: 'tegra210', detail: '4GB (developer kit)' },
  'p3448-0002': { board: NANO, soc: 'tegra210', detail: '4GB' },
  'p3448-0003': { board: NANO, soc: 'tegra210', detail: '2GB (developer kit)' },
  'p3310-1000': { board: TX2, soc: 'tegra186', detail: '8GB' },
  'p3489-0000': { board: TX2, soc: 'tegra186', detail: 'TX2i' },
  'p3489-0888': { board: TX2, soc: 'tegra186', detail: '4GB' },
  'p3636-0001': { board: board('tx2_nx', 'TX2 NX'), soc: 'tegra186', detail: '' },
  'p2888-0001': { board: AGX_XAVIER, soc: 'tegra194', detail: '16GB' },
  'p2888-0004': { board: AGX_XAVIER, soc: 'tegra194', detail: '32GB' },
  'p2888-0005': { board: AGX_XAVIER, soc: 'tegra194', detail: '64GB' },
  'p2888-0008': { board: AGX_XAVIER, soc: 'tegra194', detail: 'Industrial' },
  'p3668-0000': { board: XAVIER_NX, soc: 'tegra194', detail: '8GB (developer kit)' },
  'p3668-0001': { board: XAVIER_NX, soc: 'tegra194', detail: '8GB' },
  'p3668-0003': { board: XAVIER_NX, soc: 'tegra194', detail: '16GB' },
  'p3701-0000': { board: AGX_ORIN, soc: 'tegra234', detail: '(developer kit)' },
  'p3701-0004': { board: AGX_ORIN, soc: 'tegra234', detail: '32GB' },
  'p3701-0005': { board: AGX_ORIN, soc: 'tegra234', detail: '64GB' },
  'p3701-0008': { board: AGX_ORIN, soc: 'tegra234', detail: 'Industrial' },
  'p3767-0000': { board: ORIN_NX, soc: 'tegra234', detail: '16GB' },
  'p3767-0001': { board: ORIN_NX, soc: 'tegra234', detail: '8GB' },
  'p3767-0003': { board: ORIN_NANO, soc: 'tegra234', detail: '8GB' },
  'p3767-0004': { board: ORIN_NANO, soc: 'tegra234', detail: '4GB' },
  'p3767-0005': { board: ORIN_NANO, soc: 'tegra234', detail: '8GB (developer kit)' },
  'p3834-0008': { board: THOR, soc: 'tegra264', detail: '(developer kit)' },
};

/** Boards by the model text, for systems that show no part number; the first match counts. */
const BY_MODEL_TEXT: readonly (readonly [RegExp, BoardName, string])[] = [
  [/orin nx/i, ORIN_NX, 'tegra234'],
  [/orin nano/i, ORIN_NANO, 'tegra234'],
  [/agx orin/i, AGX_ORIN, 'tegra234'],
  [/xavier nx/i, XAVIER_NX, 'tegra194'],
  [/agx xavier/i, AGX_XAVIER, 'tegra194'],
  [/jetson nano/i, NANO, 'tegra210'],
  [/thor/i, THOR, 'tegra264'],
];

/** JetPack by version of Jetson Linux (L4T). Source: NVIDIA, JetPack archive. */
const JETPACKS: Readonly<Record<string, string>> = {
  '32.7.1': '4.6.1',
  '35.3.1': '5.1.1',
  '35.4.1': '5.1.2',
  '36.3.0': '6.0',
  '36.4.0': '6.1',
  '36.4.3': '6.2',
  '36.4.4': '6.2.1',
  '36.4.7': '6.2.1',
  '36.5.0': '6.2.2',
  '38.2.0': '7.0',
  '38.4.0': '7.1',
  '39.2.0': '7.2',
};

/** The Jetson; null if this is none. */
export function findJetson(facts: HardwareFacts): Jetson | null {
  if (!isJetson(facts)) return null;
  const found = findModule(facts);
  const soc = socOf(facts) ?? found?.soc ?? null;
  const details = soc === null ? undefined : SOCS[soc];
  const l4t = l4tOf(facts);
  return {
    id: found?.board.id ?? (details ? `jetson_${details.family}` : 'jetson'),
    name: found?.board.name ?? 'Jetson',
    module: found?.module ?? null,
    soc,
    l4t,
    jetpack: l4t === null ? null : (JETPACKS[l4t] ?? null),
    computeCapability: details?.computeCapability ?? null,
    gpu: details?.gpu ?? soc ?? 'Tegra',
  };
}

/** The compatible list decides where there is one. Otherwise one sign is enough: a container shows few of these files. */
function isJetson({ deviceTreeCompatible, ...facts }: HardwareFacts): boolean {
  if (deviceTreeCompatible.length > 0)
    return deviceTreeCompatible.some((name) => /^nvidia,(tegra\d|p\d{4}-\d{4})/.test(name));
  return (
    facts.tegraRelease !== null ||
    /\bjetson\b/i.test(facts.deviceTreeModel ?? '') ||
    facts.soc.family?.toLowerCase() === 'tegra' ||
    /-tegra$|-l4t-/.test(facts.kernel)
  );
}

interface FoundModule {
  readonly board: BoardName;
  readonly soc: string;
  readonly module: string;
}

function findModule(facts: HardwareFacts): FoundModule | null {
  for (const name of facts.deviceTreeCompatible) {
    for (const [number] of name.matchAll(/p\d{4}-\d{4}/g)) {
      const entry = MODULES[number];
      if (entry)
        return { ...entry, module: [number, entry.board.name, entry.detail].filter(Boolean).join(' ') };
    }
  }
  const model = `${facts.deviceTreeModel ?? ''} ${facts.soc.machine ?? ''}`;
  const match = BY_MODEL_TEXT.find(([pattern]) => pattern.test(model));
  return match ? { board: match[1], soc: match[2], module: match[1].name } : null;
}

/** From the compatible list, which may also contain the family name `tegra23x`; in a container from the id of the chip. */
function socOf({ deviceTreeCompatible, soc }: HardwareFacts): string | null {
  const named = deviceTreeCompatible.map((name) => name.replace(/^nvidia,/, ''));
  const known = named.find((name) => name in SOCS) ?? named.find((name) => /^tegra\d+$/.test(name));
  return known ?? Object.keys(SOCS).find((name) => SOCS[name]?.socId === soc.id) ?? null;
}

/** From /etc/nv_tegra_release, such as `# R36 (release), REVISION: 4.3, …`, else from the kernel of a Yocto image. */
function l4tOf({ tegraRelease, kernel }: HardwareFacts): string | null {
  const [, major, revision] = /^# R(\d+) \(release\), REVISION: ([\d.]+)/.exec(tegraRelease ?? '') ?? [];
  if (major !== undefined && revision !== undefined) return `${major}.${revision}`;
  return /-l4t-r(\d+\.\d+\.\d+)/.exec(kernel)?.[1] ?? null;
}
