/** A board or a module of a family of boards. */
export interface BoardName {
  /** Stable name for programs, such as `raspberry_pi_5` or `jetson_orin_nano`. */
  readonly id: string;
  /** For people, without revision. */
  readonly name: string;
}

/** What is known of the board in addition to its kind and model. A fact that no file shows is null. */
export interface BoardDetails {
  /** `raspberry_pi_5`, `jetson_orin_nano`, `rockchip_rk3588`, …; null for an unknown board or a PC. */
  readonly id: string | null;
  /** Jetson: part number and name of the module. */
  readonly module: string | null;
  /** Name of the chip where the device tree has it, such as `tegra234` or `rk3588`. */
  readonly soc: string | null;
  /** Jetson: version of Jetson Linux, such as `36.4.3`. */
  readonly l4t: string | null;
  /** Jetson: version of JetPack, such as `6.2`. */
  readonly jetpack: string | null;
  /** Jetson: CUDA compute capability of the GPU, such as `8.7`. */
  readonly computeCapability: string | null;
}

export const UNKNOWN_BOARD: BoardDetails = {
  id: null,
  module: null,
  soc: null,
  l4t: null,
  jetpack: null,
  computeCapability: null,
};
