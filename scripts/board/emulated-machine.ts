import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { runTool, type ToolResult } from '../image/run-tool.ts';
import type { MachineParts } from './machine-parts.ts';

/** A boot takes one or two minutes; a busy machine needs several times that. */
const BOOT_TIMEOUT_MS = 30 * 60_000;
/** The installation takes four minutes or more. */
const COMMAND_TIMEOUT_MS = 30 * 60_000;
/** Between two questions whether a command has ended. The guest agent logs each one, which costs time there. */
const POLL_MS = { first: 500, longest: 10_000 };
const CONSOLE_LINES = 25;
/** Units of Debian that only take time from the checks. */
const MASKED = ['apt-daily.timer', 'apt-daily-upgrade.timer', 'e2scrub_reap.service', 'getty.target'];
const KERNEL_ARGUMENTS = [
  'root=/dev/vda',
  'rw',
  'console=ttyAMA0',
  ...MASKED.map((unit) => `systemd.mask=${unit}`),
];

interface ExecStatus {
  readonly exited: boolean;
  readonly exitcode?: number;
  /** Base64. */
  readonly 'out-data'?: string;
  readonly 'err-data'?: string;
}

/**
 * An emulated arm64 machine with two processor cores, 2 GiB of memory, a disk of its own and
 * no network. Commands run through the guest agent of QEMU: one JSON text a line over a virtual serial port, see
 * https://www.qemu.org/docs/master/interop/qemu-ga-ref.html. Use with `await using`.
 */
export class EmulatedMachine implements AsyncDisposable {
  readonly #parts: MachineParts;
  readonly #share: string;
  readonly #home = mkdtempSync(join(tmpdir(), 'swellsight-machine-'));
  #qemu: ChildProcessByStdio<Writable, Readable, null>;
  #replies: AsyncIterator<string>;

  private constructor(parts: MachineParts, share: string) {
    this.#parts = parts;
    this.#share = share;
    runTool('cp', ['--sparse=always', parts.disk, join(this.#home, 'disk')]);
    [this.#qemu, this.#replies] = this.#powerOn();
  }

  /** Resolves when systemd has started all units. The directory `share` of this machine is /mnt there, read-only. */
  static async boot(parts: MachineParts, share: string): Promise<EmulatedMachine> {
    const machine = new EmulatedMachine(parts, share);
    try {
      await machine.#untilBooted();
      await machine.run('systemctl is-system-running --wait');
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  #powerOn(): [ChildProcessByStdio<Writable, Readable, null>, AsyncIterator<string>] {
    const qemu = spawn(
      'setpriv',
      [
        // Ends with this process.
        ...['--pdeathsig', 'KILL', 'nice', '-n', '5'],
        ...['qemu-system-aarch64', '-machine', 'virt', '-cpu', this.#parts.processor],
        // Its clock counts instructions, 1 ns for each. So time limits in it do not depend on the speed of this machine.
        ...['-accel', 'tcg,thread=single', '-icount', 'shift=0'],
        ...['-smp', '2', '-m', '2048', '-nodefaults', '-display', 'none'],
        ...['-kernel', this.#parts.kernel, '-initrd', this.#parts.initrd],
        ...['-append', KERNEL_ARGUMENTS.join(' ')],
        ...['-drive', `file=${join(this.#home, 'disk')},format=raw,if=virtio`],
        ...['-virtfs', `local,path=${this.#share},mount_tag=share,security_model=none,readonly=on`],
        ...['-serial', `file:${join(this.#home, 'console')}`],
        ...['-device', 'virtio-serial-pci', '-chardev', 'stdio,id=agent,signal=off'],
        ...['-device', 'virtserialport,chardev=agent,name=org.qemu.guest_agent.0'],
      ],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    // That QEMU has ended shows at its replies.
    qemu.stdin.on('error', () => undefined);
    return [qemu, createInterface({ input: qemu.stdout })[Symbol.asyncIterator]()];
  }

  async #untilBooted(): Promise<void> {
    // QEMU keeps this request until the guest agent opens its end.
    await this.#ask('guest-ping', {}, BOOT_TIMEOUT_MS);
    await this.must('mount -t 9p -o trans=virtio,ro,cache=loose,msize=262144 share /mnt');
  }

  /**
   * Switches the machine off without a warning, and boots it again until commands run. It loses what it had not written to
   * its disk.
   */
  async cutPower(): Promise<void> {
    await this.#powerOff();
    [this.#qemu, this.#replies] = this.#powerOn();
    await this.#untilBooted();
  }

  /** Runs a shell script inside as root. */
  async run(script: string): Promise<ToolResult> {
    const deadlineMs = performance.now() + COMMAND_TIMEOUT_MS;
    const { pid } = (await this.#ask('guest-exec', {
      ...{ path: '/bin/sh', arg: ['-c', script], 'capture-output': true },
      env: [
        'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
        'HOME=/root',
        'LANG=C.UTF-8',
      ],
    })) as { readonly pid: number };
    for (let pollMs = POLL_MS.first; ; pollMs = Math.min(2 * pollMs, POLL_MS.longest)) {
      const status = (await this.#ask('guest-exec-status', { pid })) as ExecStatus;
      if (status.exited)
        return {
          exitCode: status.exitcode ?? -1,
          stdout: decode(status['out-data']),
          stderr: decode(status['err-data']),
        };
      if (performance.now() > deadlineMs)
        throw new Error(`${script}: no end within ${COMMAND_TIMEOUT_MS / 60_000} min`);
      await delay(pollMs);
    }
  }

  /** As `run`; throws unless the script succeeds. Returns its standard output. */
  async must(script: string): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(script);
    if (exitCode !== 0) throw new Error(`${script}: exit code ${exitCode}\n${stdout}${stderr}`);
    return stdout;
  }

  /** Writes a text file, and the directories above it. */
  async write(path: string, text: string): Promise<void> {
    await this.must(`mkdir -p "$(dirname '${path}')" && cat >'${path}' <<'END'\n${text}END\n`);
  }

  async #ask(execute: string, args: object, timeoutMs = COMMAND_TIMEOUT_MS): Promise<unknown> {
    this.#qemu.stdin.write(`${JSON.stringify({ execute, arguments: args })}\n`);
    const timeout = delay(timeoutMs, null, { ref: false });
    const next = await Promise.race([this.#replies.next(), timeout]);
    if (next === null || next.done === true)
      throw new Error(`the machine ${next === null ? 'does not answer' : 'ended'}:\n${this.#console()}`);
    const reply = JSON.parse(next.value) as {
      readonly return?: unknown;
      readonly error?: { readonly desc: string };
    };
    if (reply.error !== undefined) throw new Error(`${execute}: ${reply.error.desc}`);
    return reply.return;
  }

  /** The last lines of the console; an empty text before QEMU has opened it. */
  #console(): string {
    const file = join(this.#home, 'console');
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    return text.trim().split('\n').slice(-CONSOLE_LINES).join('\n');
  }

  async #powerOff(): Promise<void> {
    if (this.#qemu.exitCode !== null || this.#qemu.signalCode !== null) return;
    const ended = once(this.#qemu, 'close');
    this.#qemu.kill('SIGKILL');
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#powerOff();
    rmSync(this.#home, { recursive: true, force: true });
  }
}

const decode = (base64 = ''): string => Buffer.from(base64, 'base64').toString();
