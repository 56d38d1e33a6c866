/** The BullMQ queue of alarms. */
export const alarmQueue = 'lease-alarms';

/** An alarm: look at this lease again. It carries an id, never a secret, and it is a hint: the row is the truth. */
export interface LeaseAlarm {
  leaseId: string;
  /** Look at all that are due in this mount; absent in alarms of an earlier build. */
  mountId?: string;
  /** It is due already, so there is nothing to look up of it. */
  isDue?: boolean;
}
