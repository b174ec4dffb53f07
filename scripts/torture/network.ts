import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface LinkConditions {
  /** Share of dropped packets, in each direction. */
  readonly loss01: number;
  /** Bandwidth in each direction; null for no limit. */
  readonly rateKbit: number | null;
  /** Maximum of a random delay, in each direction. */
  readonly delayMs: number;
  readonly partitioned: boolean;
}

export const UNIMPAIRED: LinkConditions = { loss01: 0, rateKbit: null, delayMs: 0, partitioned: false };

/** The network between the devices and the broker. */
export interface Network {
  readonly kind: string;
  /** The address of the proxy, as seen by the devices. */
  readonly host: string;
  /** Command prefix that runs a program on the devices' side. */
  readonly prefix: readonly string[];
  set(conditions: LinkConditions): void;
  close(): void;
}

/** The controls of the proxy that a network uses. */
interface ProxyControls {
  delayMs: number;
  cut: boolean;
}

const MAX_SLOTS = 1000;
const ATTEMPTS = 5;

/** A network namespace when the system allows one, else loopback. */
export function openNetwork(): NamespaceNetwork | LoopbackNetwork {
  if (process.platform === 'linux' && process.getuid?.() === 0)
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1)
      try {
        return NamespaceNetwork.open((process.pid + 37 * attempt) % MAX_SLOTS);
      } catch {
        // The name is taken, or namespaces are not allowed. `Network.kind` reports the result.
      }
  return new LoopbackNetwork();
}

/** True when this process may create network namespaces, links and packet filters. */
export function canMakeNamespace(): boolean {
  const network = openNetwork();
  network.close();
  return network instanceof NamespaceNetwork;
}

function run(command: string, args: readonly string[], input = ''): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8', input });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim()}`);
}

/** A network namespace with one veth link: real packet loss, bandwidth limits and link failures. */
export class NamespaceNetwork implements Network {
  readonly kind = 'network namespace';
  readonly host: string;
  readonly prefix: readonly string[];
  proxy: ProxyControls | null = null;
  readonly #name: string;
  readonly #near: string;
  readonly #far: string;
  #now: LinkConditions = UNIMPAIRED;

  /** `slot`, 0 to 999, distinguishes concurrent runs. Throws when the system does not allow it. */
  static open(slot: number): NamespaceNetwork {
    const network = new NamespaceNetwork(slot);
    try {
      network.#make();
      return network;
    } catch (error) {
      network.close();
      throw error;
    }
  }

  private constructor(slot: number) {
    if (existsSync(`/run/netns/swtorture${slot}`)) throw new Error('the slot is in use');
    this.#name = `swtorture${slot}`;
    this.#near = `swt${slot}a`;
    this.#far = `swt${slot}b`;
    // The address range for benchmarks, which no real network uses. Source: RFC 2544, appendix C.2.2.
    this.host = `198.18.${slot >> 6}.${((slot & 63) << 2) + 1}`;
    this.prefix = ['nsenter', `--net=/run/netns/${this.#name}`];
  }

  #make(): void {
    const [name, near, far] = [this.#name, this.#near, this.#far];
    const inside = this.host.replace(/\d+$/, (last) => String(Number(last) + 1));
    run('ip', ['netns', 'add', name]);
    run('ip', ['link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', name]);
    run('ip', ['address', 'add', `${this.host}/30`, 'dev', near]);
    run('ip', ['link', 'set', near, 'up']);
    run('ip', ['-n', name, 'address', 'add', `${inside}/30`, 'dev', far]);
    run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    run('ip', ['-n', name, 'link', 'set', far, 'up']);
    this.#filter(0.01);
    this.#filter(0);
  }

  set(conditions: LinkConditions): void {
    const before = this.#now;
    this.#now = conditions;
    if (conditions.loss01 !== before.loss01) this.#filter(conditions.loss01);
    if (conditions.rateKbit !== before.rateKbit) this.#limit(conditions.rateKbit);
    if (conditions.partitioned !== before.partitioned)
      run('ip', ['link', 'set', this.#near, conditions.partitioned ? 'down' : 'up']);
    if (this.proxy) this.proxy.delayMs = conditions.delayMs;
  }

  /** The kernel removes the namespace with its last process, and the link and the filter with the namespace. */
  close(): void {
    spawnSync('ip', ['link', 'delete', this.#near]);
    spawnSync('ip', ['netns', 'delete', this.#name]);
  }

  #filter(loss01: number): void {
    const drop = `numgen random mod 1000 < ${Math.round(loss01 * 1000)} drop`;
    const chain = (hook: string, way: string): string => `
      chain ${hook} {
        type filter hook ${hook} priority 0
        ${loss01 > 0 ? `${way} "${this.#far}" ${drop}` : ''}
      }`;
    run(
      ...this.#inside('nft', '-f', '-'),
      `table inet torture
      delete table inet torture
      table inet torture { ${chain('input', 'iifname')} ${chain('output', 'oifname')}
      }\n`,
    );
  }

  #limit(rateKbit: number | null): void {
    const shape =
      rateKbit === null
        ? ['delete']
        : ['replace', 'tbf', 'rate', `${rateKbit}kbit`, 'burst', '8kb', 'latency', '800ms'];
    const [verb = '', ...how] = shape;
    run('tc', ['qdisc', verb, 'dev', this.#near, 'root', ...how]);
    run(...this.#inside('tc', 'qdisc', verb, 'dev', this.#far, 'root', ...how));
  }

  #inside(command: string, ...args: string[]): [string, string[]] {
    const [enter = '', ...where] = this.prefix;
    return [enter, [...where, command, ...args]];
  }
}

/** For systems without namespaces: delays and partitions by the proxy, no packet loss and no bandwidth limits. */
export class LoopbackNetwork implements Network {
  readonly kind = 'loopback, partitions by a proxy';
  readonly host = '127.0.0.1';
  readonly prefix: readonly string[] = [];
  proxy: ProxyControls | null = null;

  set({ delayMs, partitioned }: LinkConditions): void {
    if (!this.proxy) return;
    this.proxy.delayMs = delayMs;
    this.proxy.cut = partitioned;
  }

  close(): void {
    if (this.proxy) this.proxy.cut = false;
  }
}
