// What the city's page knows of the API beyond what all pages do.

import type { BoundingBox, Money, Point, ServiceArea, Trip, TripState } from "../lib/types";

export interface Zone {
  zoneId: string;
  centre: Point;
  radiusMeters: number | string;
  pickupFee?: Money;
  dropoffFee?: Money;
}

export interface TollGate {
  gateId: string;
  centre: Point;
  radiusMeters: number | string;
  toll?: Money;
}

export interface CityArea extends ServiceArea {
  queueZones: Zone[];
}

export interface TripStats {
  startsAt: string;
  requested: number;
  completed: number;
  cancelled: number;
  expired: number;
  noShow: number;
  live: number;
  pickedUp: number;
  pickupMeanMs?: string;
  pickupMedianMs?: string;
  pickupP95Ms?: string;
}

export interface Stats {
  takenAt: string;
  buckets: TripStats[];
  total: TripStats;
  endReasons: { state: TripState; reason: string; count: number }[];
}

export interface Round {
  roundId: string;
  decidedAt: string;
  policy: string;
  requests: number;
  assigned: number;
}

export interface Verdict {
  driverId: string;
  reason: string;
  takenByTripId: string;
  pickupDurationMs?: string;
  costMs?: string;
  idleMs: string;
}

export interface Outcome {
  tripId: string;
  waitedMs: string;
  reachMs: string;
  driverId: string;
  waitsForDriver: boolean;
  pickupDurationMs: string;
  drivers: Verdict[];
  sharesWithTripId: string;
}

export interface Explained {
  round: Round;
  mapId: string;
  outcomes: Outcome[];
}

export interface Replayed {
  policy: string;
  isIdentical: boolean;
  requests: {
    tripId: string;
    driverId: string;
    pickupDurationMs: string;
    replayedDriverId: string;
    replayedPickupDurationMs: string;
  }[];
}

export interface Policy {
  name: string;
  method: string;
  windowMs: string;
  candidates: number;
  reachMs: string;
  reachGrowthMs: string;
  reachMaxMs: string;
  waitingPercent: number;
  idlePercent: number;
  chainAheadMs: string;
}

export interface Policies {
  policy: string;
  policies: Policy[];
}

export interface Transition {
  version: string;
  fromState: TripState | "TRIP_STATE_UNSPECIFIED";
  toState: TripState;
  actor: string;
  actorId: string;
  reason: string;
  occurredAt: string;
}

export interface TripWithLog {
  trip: Trip;
  transitions: Transition[];
}

export interface JournalEntry {
  kind: string;
  number: number;
  postedAt: string;
  postings: { account: string; ownerId: string; amount: Money }[];
}

export interface DemandCell {
  area: BoundingBox;
  waiting: number;
  idleDrivers: number;
  surgePercent: number;
}

export interface TrafficRoad {
  segment: number;
  forward: boolean;
  speedKmh: number;
  freeSpeedKmh: number;
  weight: number;
}

export interface Sos {
  sosId: string;
  tripId: string;
  actor: string;
  actorId: string;
  note: string;
  raisedAt: string;
}
