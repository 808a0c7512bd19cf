// What the pages know of the API's messages. The fields are those of /openapi.json; only what a page shows
// or sends is here. Plain fields are always there, messages and optional ones may be left out.

export interface Point {
  latitude: number;
  longitude: number;
}

export interface Money {
  currencyCode: string;
  minorUnits: string;
}

export interface Route {
  distanceMeters: string;
  durationMs: string;
  line: Point[];
  steps: RouteStep[];
}

/** A stretch of a route on one street. */
export interface RouteStep {
  /** Empty where the street has neither name nor number. */
  street: string;
  distanceMeters: string;
}

export interface BoundingBox {
  southWest: Point;
  northEast: Point;
}

export interface Product {
  product: string;
  title: string;
  seats: number;
  shared: boolean;
}

export interface ServiceArea {
  mapName: string;
  mapId: string;
  area: BoundingBox;
  products: Product[];
  attribution: string;
}

export interface FareLine {
  kind: string;
  amount: Money;
}

export interface TripQuote {
  quoteId: string;
  product: string;
  fare: Money;
  lines: FareLine[];
  distanceMeters: string;
  durationMs: string;
  pickupEtaMs?: string;
  expiresAt: string;
  surgePercent: number;
  pickupAt?: string;
  cancellationFee?: Money;
  noShowFee?: Money;
}

export interface Quotes {
  quotes: TripQuote[];
  route?: Route;
}

export type TripState =
  | "TRIP_STATE_SCHEDULED"
  | "TRIP_STATE_SEARCHING"
  | "TRIP_STATE_OFFERED"
  | "TRIP_STATE_ASSIGNED"
  | "TRIP_STATE_DRIVER_ARRIVED"
  | "TRIP_STATE_IN_PROGRESS"
  | "TRIP_STATE_COMPLETED"
  | "TRIP_STATE_CANCELLED"
  | "TRIP_STATE_EXPIRED"
  | "TRIP_STATE_NO_SHOW";

export interface TripStop {
  location: Point;
  arrivedAt?: string;
}

export interface Trip {
  tripId: string;
  version: string;
  state: TripState;
  riderId: string;
  driver?: { driverId: string; plate: string; vehicle: string };
  product: string;
  pickup: Point;
  dropoff: Point;
  fare?: Money;
  finalFare?: Money;
  fee?: Money;
  paymentState: string;
  pin: string;
  openOffer?: { offerId: string; driverId: string; expiresAt: string };
  cancelledBy: string;
  endReason: string;
  createdAt: string;
  assignedAt?: string;
  arrivedAt?: string;
  startedAt?: string;
  endedAt?: string;
  pickupDueAt?: string;
  pickupAt?: string;
  distanceMeters: string;
  durationMs: string;
  drivenMeters?: string;
  seats: number;
  stops: TripStop[];
  paymentMethod: string;
}

export interface DriverPosition {
  location: Point;
  headingDegrees?: number;
  locatedAt?: string;
  etaMs?: string;
}

export interface Refund {
  number: number;
  amount: Money;
  reason: string;
  refundedAt: string;
}

export interface Receipt {
  tripId: string;
  product: string;
  lines: FareLine[];
  total: Money;
  driverShare?: Money;
  tax?: Money;
  capturedAt?: string;
  refunded?: Money;
  refunds: Refund[];
  paymentState: string;
  fare?: Money;
  credit?: Money;
  paymentMethod: string;
  cash?: Money;
  carried?: Money;
  upfront?: Money;
}

export interface PlannedStop {
  tripId: string;
  kind: "STOP_KIND_PICKUP" | "STOP_KIND_DROPOFF";
  location: Point;
}

export interface Driver {
  driverId: string;
  state: string;
  location?: Point;
  products: string[];
  vehicle?: { plate: string; description: string };
  tripId: string;
  secondTripId: string;
  stops: PlannedStop[];
}

export interface Offer {
  offerId: string;
  tripId: string;
  product: string;
  pickup: Point;
  dropoff: Point;
  pickupDurationMs: string;
  pickupDistanceMeters: string;
  fare?: Money;
  expiresAt: string;
  besideTripId: string;
  shared: boolean;
  seats: number;
}

export interface Assignment {
  tripId: string;
  pickup: Point;
  dropoff: Point;
  toPickup?: Route;
  besideTripId: string;
  shared: boolean;
  seats: number;
}

/** What the driver's stream brings: one of the members besides `seq`. */
export interface DriverMessage {
  seq: string;
  welcome?: { sessionId: string; resumed: boolean; driver: Driver; silenceMaxMs: string };
  pingReceipt?: { batch: string; accepted: number; refused: { index: number; reason: string }[] };
  offer?: Offer;
  offerWithdrawn?: { offerId: string; tripId: string; reason: string };
  assignment?: Assignment;
  assignmentEnded?: { tripId: string; tripState: TripState };
  driverUpdate?: { driver: Driver };
  error?: unknown;
}
