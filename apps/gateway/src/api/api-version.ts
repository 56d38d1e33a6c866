/** The Vault version whose API this is; clients compare it to learn what they may ask for. */
export const apiVersion = '1.20.0';
