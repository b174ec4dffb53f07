import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

export interface Weather {
  /** Share of packets that are dropped, each way. */
  readonly loss01: number;
  /** Bandwidth each way; null for no bound. */
  readonly rateKbit: number | null;
  /** Added to each way, at random up to this. */
  readonly delayMs: number;
  readonly partitioned: boolean;
}

export const CALM: Weather = { loss01: 0, rateKbit: null, delayMs: 0, partitioned: false };

/** What lies between the devices and the broker. */
export interface Network {
  readonly kind: string;
  /** Where the witness listens, as the devices see it. */
  readonly host: string;
  /** Words to put before a command so that it runs on the devices' side. */
  readonly prefix: readonly string[];
  set(weather: Weather): void;
  close(): void;
}

/** The part of a witness that a network without a namespace makes use of. */
interface Valve {
  delayMs: number;
  cut: boolean;
}

const MAX_SLOTS = 1000;
const ATTEMPTS = 5;

/** A namespace where one can be made, else what can be done without. */
export function openNetwork(): NamespaceNetwork | LoopbackNetwork {
  if (process.platform === 'linux' && process.getuid?.() === 0)
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1)
      try {
        return NamespaceNetwork.open((process.pid + 37 * attempt) % MAX_SLOTS);
      } catch {
        // Taken, or not allowed: the kind of the network tells which it was in the end.
      }
  return new LoopbackNetwork();
}

/** True when this process may make network namespaces, links and packet filters. */
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

/** A network namespace with one cable to the outside: real loss, real bandwidth, a cable that is pulled. */
export class NamespaceNetwork implements Network {
  readonly kind = 'network namespace';
  readonly host: string;
  readonly prefix: readonly string[];
  valve: Valve | null = null;
  readonly #name: string;
  readonly #near: string;
  readonly #far: string;
  #now: Weather = CALM;

  /** `slot`, 0 to 999, keeps several at a time apart. Throws when the system does not let us. */
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
    if (existsSync(`/run/netns/swtorture${slot}`)) throw new Error('taken');
    this.#name = `swtorture${slot}`;
    this.#near = `swt${slot}a`;
    this.#far = `swt${slot}b`;
    // The range for measurements between networks: nobody's own. Source: RFC 2544, appendix C.2.2.
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

  set(weather: Weather): void {
    const before = this.#now;
    this.#now = weather;
    if (weather.loss01 !== before.loss01) this.#filter(weather.loss01);
    if (weather.rateKbit !== before.rateKbit) this.#limit(weather.rateKbit);
    if (weather.partitioned !== before.partitioned)
      run('ip', ['link', 'set', this.#near, weather.partitioned ? 'down' : 'up']);
    if (this.valve) this.valve.delayMs = weather.delayMs;
  }

  /** The namespace goes with its last process; the cable and the filter go with the namespace. */
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

/** Without the right to make a namespace: delay and partitions by the witness, no loss and no bandwidth. */
export class LoopbackNetwork implements Network {
  readonly kind = 'loopback, partitions by a proxy';
  readonly host = '127.0.0.1';
  readonly prefix: readonly string[] = [];
  valve: Valve | null = null;

  set({ delayMs, partitioned }: Weather): void {
    if (!this.valve) return;
    this.valve.delayMs = delayMs;
    this.valve.cut = partitioned;
  }

  close(): void {
    if (this.valve) this.valve.cut = false;
  }
}
