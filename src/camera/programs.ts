/** The programs that cameras are read with, by name or path. */
export interface Programs {
  readonly ffmpeg: string;
  readonly ffprobe: string;
}

export const SYSTEM_PROGRAMS: Programs = { ffmpeg: 'ffmpeg', ffprobe: 'ffprobe' };
