/** Rows as they lie in the tables that more than one file reads. */
export interface LabelRow {
  readonly camera: string;
  readonly observation_id: string;
  readonly height_m: number;
  readonly observer: string | null;
  readonly note: string | null;
  readonly created_at_ms: number;
  readonly group_id: string;
}

export interface BurstRow {
  readonly camera: string;
  readonly observation_id: string;
  readonly captured_at_ms: number;
  readonly embedding_digest: string;
  readonly embedding: Uint8Array;
  readonly view_luma: Uint8Array | null;
  readonly view_width: number | null;
  readonly view_height: number | null;
}
