/** The BullMQ queue of alarms. */
export const alarmQueue = 'lease-alarms';

/** An alarm: look at this lease again. It carries an id, never a secret, and it is a hint: the row is the truth. */
export interface LeaseAlarm {
  leaseId: string;
  /** It is due already: look at all that are due in this mount. */
  mountId?: string;
}
