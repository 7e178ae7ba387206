// Written by `make generate`, which is `supabase gen types`; do not edit.

export type Json = string | number | boolean | null | { [key: string]: Json | undefined } | Json[];

export type Database = {
  "public": {
    Tables: {
      "charging_sessions": {
        Row: {
          "amount": number;
          "client_id": string | null;
          "clock_offset": string;
          "connector_id": number | null;
          "created_at": string;
          "currency": string;
          "energy": number;
          "energy_wh": number;
          "error": string | null;
          "expires_at": string | null;
          "flags": (string)[];
          "held_amount": number;
          "id": string;
          "id_tag": string | null;
          "limit_amount": number | null;
          "limit_energy_kwh": number | null;
          "limit_reached_at": string | null;
          "limit_type": Database["public"]["Enums"]["limit_type"];
          "limit_warned_at": string | null;
          "live_at": string | null;
          "meter_base_wh": number | null;
          "meter_last_at": string | null;
          "meter_last_wh": number | null;
          "meter_max_wh": number | null;
          "meter_restarted": boolean;
          "meter_start_wh": number | null;
          "meter_steps_wh": number;
          "meter_stop_wh": number | null;
          "parking_start_time": string | null;
          "power_w": number | null;
          "priced_at": string | null;
          "priced_energy_wh": number | null;
          "provisional_at": string | null;
          "receipt": Json | null;
          "reported_start": string | null;
          "reservation_id": number | null;
          "settled_at": string | null;
          "soc_percent": number | null;
          "start_key": string | null;
          "start_reply": Json | null;
          "start_time": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["session_status"];
          "stop_id_tag": string | null;
          "stop_key": string | null;
          "stop_reason": string | null;
          "stop_requested_at": string | null;
          "stop_time": string | null;
          "tariff": Json | null;
          "transaction_id": number;
          "unpaid_amount": number;
          "updated_at": string;
          "user_id": string | null;
        };
        ComputedFields: never;
        Insert: {
          "amount"?: number;
          "client_id"?: string | null;
          "clock_offset"?: string;
          "connector_id"?: number | null;
          "created_at"?: string;
          "currency"?: string;
          "energy"?: number;
          "energy_wh"?: number;
          "error"?: string | null;
          "expires_at"?: string | null;
          "flags"?: (string)[];
          "held_amount"?: number;
          "id"?: string;
          "id_tag"?: string | null;
          "limit_amount"?: number | null;
          "limit_energy_kwh"?: number | null;
          "limit_reached_at"?: string | null;
          "limit_type"?: never;
          "limit_warned_at"?: string | null;
          "live_at"?: string | null;
          "meter_base_wh"?: number | null;
          "meter_last_at"?: string | null;
          "meter_last_wh"?: number | null;
          "meter_max_wh"?: number | null;
          "meter_restarted"?: boolean;
          "meter_start_wh"?: number | null;
          "meter_steps_wh"?: number;
          "meter_stop_wh"?: number | null;
          "parking_start_time"?: string | null;
          "power_w"?: number | null;
          "priced_at"?: string | null;
          "priced_energy_wh"?: number | null;
          "provisional_at"?: string | null;
          "receipt"?: Json | null;
          "reported_start"?: string | null;
          "reservation_id"?: number | null;
          "settled_at"?: string | null;
          "soc_percent"?: number | null;
          "start_key"?: string | null;
          "start_reply"?: Json | null;
          "start_time"?: string | null;
          "station_id": string;
          "status"?: Database["public"]["Enums"]["session_status"];
          "stop_id_tag"?: string | null;
          "stop_key"?: string | null;
          "stop_reason"?: string | null;
          "stop_requested_at"?: string | null;
          "stop_time"?: string | null;
          "tariff"?: Json | null;
          "transaction_id"?: number;
          "unpaid_amount"?: number;
          "updated_at"?: string;
          "user_id"?: string | null;
        };
        Update: {
          "amount"?: number;
          "client_id"?: string | null;
          "clock_offset"?: string;
          "connector_id"?: number | null;
          "created_at"?: string;
          "currency"?: string;
          "energy"?: number;
          "energy_wh"?: number;
          "error"?: string | null;
          "expires_at"?: string | null;
          "flags"?: (string)[];
          "held_amount"?: number;
          "id"?: string;
          "id_tag"?: string | null;
          "limit_amount"?: number | null;
          "limit_energy_kwh"?: number | null;
          "limit_reached_at"?: string | null;
          "limit_type"?: never;
          "limit_warned_at"?: string | null;
          "live_at"?: string | null;
          "meter_base_wh"?: number | null;
          "meter_last_at"?: string | null;
          "meter_last_wh"?: number | null;
          "meter_max_wh"?: number | null;
          "meter_restarted"?: boolean;
          "meter_start_wh"?: number | null;
          "meter_steps_wh"?: number;
          "meter_stop_wh"?: number | null;
          "parking_start_time"?: string | null;
          "power_w"?: number | null;
          "priced_at"?: string | null;
          "priced_energy_wh"?: number | null;
          "provisional_at"?: string | null;
          "receipt"?: Json | null;
          "reported_start"?: string | null;
          "reservation_id"?: number | null;
          "settled_at"?: string | null;
          "soc_percent"?: number | null;
          "start_key"?: string | null;
          "start_reply"?: Json | null;
          "start_time"?: string | null;
          "station_id"?: string;
          "status"?: Database["public"]["Enums"]["session_status"];
          "stop_id_tag"?: string | null;
          "stop_key"?: string | null;
          "stop_reason"?: string | null;
          "stop_requested_at"?: string | null;
          "stop_time"?: string | null;
          "tariff"?: Json | null;
          "transaction_id"?: number;
          "unpaid_amount"?: number;
          "updated_at"?: string;
          "user_id"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "charging_sessions_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_connector_id_fkey";
            columns: ["station_id", "connector_id"];
            isOneToOne: false;
            referencedRelation: "connector_overview";
            referencedColumns: ["station_id", "number"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_connector_id_fkey";
            columns: ["station_id", "connector_id"];
            isOneToOne: false;
            referencedRelation: "connectors";
            referencedColumns: ["station_id", "number"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "charging_sessions_user_id_fkey";
            columns: ["user_id"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
        ];
      };
      "client_tariffs": {
        Row: {
          "client_id": string;
          "company_id": string | null;
          "created_at": string;
          "discount_percent": number;
          "id": string;
          "note": string | null;
          "tariff_plan_id": string | null;
          "updated_at": string;
          "valid_from": string | null;
          "valid_until": string | null;
        };
        ComputedFields: never;
        Insert: {
          "client_id": string;
          "company_id"?: string | null;
          "created_at"?: string;
          "discount_percent"?: number;
          "id"?: string;
          "note"?: string | null;
          "tariff_plan_id"?: string | null;
          "updated_at"?: string;
          "valid_from"?: string | null;
          "valid_until"?: string | null;
        };
        Update: {
          "client_id"?: string;
          "company_id"?: string | null;
          "created_at"?: string;
          "discount_percent"?: number;
          "id"?: string;
          "note"?: string | null;
          "tariff_plan_id"?: string | null;
          "updated_at"?: string;
          "valid_from"?: string | null;
          "valid_until"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "client_tariffs_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "client_tariffs_company_id_fkey";
            columns: ["company_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "client_tariffs_tariff_plan_id_fkey";
            columns: ["tariff_plan_id"];
            isOneToOne: false;
            referencedRelation: "tariff_plans";
            referencedColumns: ["id"];
          },
        ];
      };
      "clients": {
        Row: {
          "address": string | null;
          "balance": number;
          "contract_end_date": string | null;
          "contract_number": string | null;
          "contract_start_date": string | null;
          "created_at": string;
          "credit_limit": number;
          "currency": string;
          "email": string | null;
          "held": number;
          "id": string;
          "kind": Database["public"]["Enums"]["client_kind"];
          "name": string;
          "phone": string | null;
          "status": Database["public"]["Enums"]["client_status"];
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "address"?: string | null;
          "balance"?: number;
          "contract_end_date"?: string | null;
          "contract_number"?: string | null;
          "contract_start_date"?: string | null;
          "created_at"?: string;
          "credit_limit"?: number;
          "currency"?: string;
          "email"?: string | null;
          "held"?: number;
          "id"?: string;
          "kind"?: Database["public"]["Enums"]["client_kind"];
          "name": string;
          "phone"?: string | null;
          "status"?: Database["public"]["Enums"]["client_status"];
          "updated_at"?: string;
        };
        Update: {
          "address"?: string | null;
          "balance"?: number;
          "contract_end_date"?: string | null;
          "contract_number"?: string | null;
          "contract_start_date"?: string | null;
          "created_at"?: string;
          "credit_limit"?: number;
          "currency"?: string;
          "email"?: string | null;
          "held"?: number;
          "id"?: string;
          "kind"?: Database["public"]["Enums"]["client_kind"];
          "name"?: string;
          "phone"?: string | null;
          "status"?: Database["public"]["Enums"]["client_status"];
          "updated_at"?: string;
        };
        Relationships: [];
      };
      "commands": {
        Row: {
          "action": string;
          "answered_at": string | null;
          "attempts": number;
          "connection_id": string | null;
          "created_at": string;
          "created_by": string | null;
          "effect_at": string | null;
          "error": string | null;
          "expires_at": string;
          "id": string;
          "late": boolean;
          "payload": NonNullable<Json>;
          "result": Json | null;
          "sent_at": string | null;
          "session_id": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["command_status"];
          "timeout_s": number;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "action": string;
          "answered_at"?: string | null;
          "attempts"?: number;
          "connection_id"?: string | null;
          "created_at"?: string;
          "created_by"?: string | null;
          "effect_at"?: string | null;
          "error"?: string | null;
          "expires_at"?: string;
          "id"?: string;
          "late"?: boolean;
          "payload"?: NonNullable<Json>;
          "result"?: Json | null;
          "sent_at"?: string | null;
          "session_id"?: string | null;
          "station_id": string;
          "status"?: Database["public"]["Enums"]["command_status"];
          "timeout_s"?: number;
          "updated_at"?: string;
        };
        Update: {
          "action"?: string;
          "answered_at"?: string | null;
          "attempts"?: number;
          "connection_id"?: string | null;
          "created_at"?: string;
          "created_by"?: string | null;
          "effect_at"?: string | null;
          "error"?: string | null;
          "expires_at"?: string;
          "id"?: string;
          "late"?: boolean;
          "payload"?: NonNullable<Json>;
          "result"?: Json | null;
          "sent_at"?: string | null;
          "session_id"?: string | null;
          "station_id"?: string;
          "status"?: Database["public"]["Enums"]["command_status"];
          "timeout_s"?: number;
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "commands_created_by_fkey";
            columns: ["created_by"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "commands_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "charging_sessions";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "commands_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "session_history";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "commands_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "sessions_under_way";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "commands_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "commands_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "commands_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
        ];
      };
      "connectors": {
        Row: {
          "created_at": string;
          "error_code": string | null;
          "id": string;
          "info": string | null;
          "number": number;
          "power": number | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["connector_status"] | null;
          "status_at": string | null;
          "type": string | null;
          "updated_at": string;
          "vendor_error_code": string | null;
        };
        ComputedFields: never;
        Insert: {
          "created_at"?: string;
          "error_code"?: string | null;
          "id"?: string;
          "info"?: string | null;
          "number": number;
          "power"?: number | null;
          "station_id": string;
          "status"?: Database["public"]["Enums"]["connector_status"] | null;
          "status_at"?: string | null;
          "type"?: string | null;
          "updated_at"?: string;
          "vendor_error_code"?: string | null;
        };
        Update: {
          "created_at"?: string;
          "error_code"?: string | null;
          "id"?: string;
          "info"?: string | null;
          "number"?: number;
          "power"?: number | null;
          "station_id"?: string;
          "status"?: Database["public"]["Enums"]["connector_status"] | null;
          "status_at"?: string | null;
          "type"?: string | null;
          "updated_at"?: string;
          "vendor_error_code"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "connectors_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "connectors_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "connectors_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
        ];
      };
      "driver_totals": {
        Row: {
          "amount": number;
          "currency": string;
          "energy": number;
          "id": number;
          "is_sum": boolean;
          "minutes": number;
          "month": string;
          "sessions": number;
          "station_id": string;
          "user_id": string;
        };
        ComputedFields: never;
        Insert: {
          "amount": number;
          "currency": string;
          "energy": number;
          "id"?: never;
          "is_sum"?: boolean;
          "minutes": number;
          "month": string;
          "sessions": number;
          "station_id": string;
          "user_id": string;
        };
        Update: {
          "amount"?: number;
          "currency"?: string;
          "energy"?: number;
          "id"?: never;
          "is_sum"?: boolean;
          "minutes"?: number;
          "month"?: string;
          "sessions"?: number;
          "station_id"?: string;
          "user_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "driver_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "driver_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "driver_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "driver_totals_user_id_fkey";
            columns: ["user_id"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
        ];
      };
      "id_tags": {
        Row: {
          "client_id": string | null;
          "created_at": string;
          "expiry_date": string | null;
          "id": string;
          "id_tag": string;
          "note": string | null;
          "parent_id_tag": string | null;
          "status": Database["public"]["Enums"]["id_tag_status"];
          "updated_at": string;
          "user_id": string | null;
        };
        ComputedFields: never;
        Insert: {
          "client_id"?: string | null;
          "created_at"?: string;
          "expiry_date"?: string | null;
          "id"?: string;
          "id_tag": string;
          "note"?: string | null;
          "parent_id_tag"?: string | null;
          "status"?: Database["public"]["Enums"]["id_tag_status"];
          "updated_at"?: string;
          "user_id"?: string | null;
        };
        Update: {
          "client_id"?: string | null;
          "created_at"?: string;
          "expiry_date"?: string | null;
          "id"?: string;
          "id_tag"?: string;
          "note"?: string | null;
          "parent_id_tag"?: string | null;
          "status"?: Database["public"]["Enums"]["id_tag_status"];
          "updated_at"?: string;
          "user_id"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "id_tags_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "id_tags_user_id_fkey";
            columns: ["user_id"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
        ];
      };
      "ledger_entries": {
        Row: {
          "amount": number;
          "client_id": string;
          "created_at": string;
          "created_by": string | null;
          "currency": string;
          "hold_id": string | null;
          "id": string;
          "kind": Database["public"]["Enums"]["ledger_kind"];
          "note": string | null;
          "reference": string | null;
          "session_id": string | null;
          "station_id": string | null;
        };
        ComputedFields: never;
        Insert: {
          "amount": number;
          "client_id": string;
          "created_at"?: string;
          "created_by"?: string | null;
          "currency": string;
          "hold_id"?: string | null;
          "id"?: string;
          "kind": Database["public"]["Enums"]["ledger_kind"];
          "note"?: string | null;
          "reference"?: string | null;
          "session_id"?: string | null;
          "station_id"?: string | null;
        };
        Update: {
          "amount"?: number;
          "client_id"?: string;
          "created_at"?: string;
          "created_by"?: string | null;
          "currency"?: string;
          "hold_id"?: string | null;
          "id"?: string;
          "kind"?: Database["public"]["Enums"]["ledger_kind"];
          "note"?: string | null;
          "reference"?: string | null;
          "session_id"?: string | null;
          "station_id"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "ledger_entries_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "ledger_entries_hold_id_fkey";
            columns: ["hold_id"];
            isOneToOne: true;
            referencedRelation: "ledger_entries";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "ledger_entries_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "charging_sessions";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "ledger_entries_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "session_history";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "ledger_entries_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "sessions_under_way";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "ledger_entries_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "ledger_entries_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "ledger_entries_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
        ];
      };
      "locations": {
        Row: {
          "address": string | null;
          "city": string | null;
          "client_id": string | null;
          "country": string;
          "created_at": string;
          "id": string;
          "latitude": number | null;
          "longitude": number | null;
          "name": string;
          "time_zone": string;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "address"?: string | null;
          "city"?: string | null;
          "client_id"?: string | null;
          "country"?: string;
          "created_at"?: string;
          "id"?: string;
          "latitude"?: number | null;
          "longitude"?: number | null;
          "name": string;
          "time_zone"?: string;
          "updated_at"?: string;
        };
        Update: {
          "address"?: string | null;
          "city"?: string | null;
          "client_id"?: string | null;
          "country"?: string;
          "created_at"?: string;
          "id"?: string;
          "latitude"?: number | null;
          "longitude"?: number | null;
          "name"?: string;
          "time_zone"?: string;
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "locations_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
        ];
      };
      "maintenance": {
        Row: {
          "assigned_to": string | null;
          "created_at": string;
          "description": string;
          "id": string;
          "notes": string | null;
          "request_date": string;
          "station_id": string;
          "status": Database["public"]["Enums"]["maintenance_status"];
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "assigned_to"?: string | null;
          "created_at"?: string;
          "description": string;
          "id"?: string;
          "notes"?: string | null;
          "request_date"?: string;
          "station_id": string;
          "status"?: Database["public"]["Enums"]["maintenance_status"];
          "updated_at"?: string;
        };
        Update: {
          "assigned_to"?: string | null;
          "created_at"?: string;
          "description"?: string;
          "id"?: string;
          "notes"?: string | null;
          "request_date"?: string;
          "station_id"?: string;
          "status"?: Database["public"]["Enums"]["maintenance_status"];
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "maintenance_assigned_to_fkey";
            columns: ["assigned_to"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "maintenance_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "maintenance_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "maintenance_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
        ];
      };
      "meter_values": {
        Row: {
          "connector_id": number;
          "context": string;
          "current_a": number | null;
          "digest": string;
          "energy_wh": number | null;
          "id": string;
          "power_w": number | null;
          "received_at": string;
          "reported_at": string;
          "samples": NonNullable<Json>;
          "session_id": string | null;
          "soc_percent": number | null;
          "station_id": string;
          "temperature_c": number | null;
          "transaction_id": number | null;
          "voltage_v": number | null;
        };
        ComputedFields: never;
        Insert: {
          "connector_id": number;
          "context"?: string;
          "current_a"?: number | null;
          "digest": string;
          "energy_wh"?: number | null;
          "id"?: string;
          "power_w"?: number | null;
          "received_at": string;
          "reported_at": string;
          "samples": NonNullable<Json>;
          "session_id"?: string | null;
          "soc_percent"?: number | null;
          "station_id": string;
          "temperature_c"?: number | null;
          "transaction_id"?: number | null;
          "voltage_v"?: number | null;
        };
        Update: {
          "connector_id"?: number;
          "context"?: string;
          "current_a"?: number | null;
          "digest"?: string;
          "energy_wh"?: number | null;
          "id"?: string;
          "power_w"?: number | null;
          "received_at"?: string;
          "reported_at"?: string;
          "samples"?: NonNullable<Json>;
          "session_id"?: string | null;
          "soc_percent"?: number | null;
          "station_id"?: string;
          "temperature_c"?: number | null;
          "transaction_id"?: number | null;
          "voltage_v"?: number | null;
        };
        Relationships: [
          {
            foreignKeyName: "meter_values_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "charging_sessions";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "meter_values_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "session_history";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "meter_values_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "sessions_under_way";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "meter_values_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "meter_values_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "meter_values_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
        ];
      };
      "ocpp_messages": {
        Row: {
          "action": string | null;
          "connection_id": string | null;
          "direction": Database["public"]["Enums"]["message_direction"];
          "id": string;
          "message_id": string | null;
          "payload": Json | null;
          "received_at": string;
          "reply": Json | null;
          "reply_error": string | null;
          "station_id": string;
          "violations": Json | null;
        };
        ComputedFields: never;
        Insert: {
          "action"?: string | null;
          "connection_id"?: string | null;
          "direction": Database["public"]["Enums"]["message_direction"];
          "id"?: string;
          "message_id"?: string | null;
          "payload"?: Json | null;
          "received_at": string;
          "reply"?: Json | null;
          "reply_error"?: string | null;
          "station_id": string;
          "violations"?: Json | null;
        };
        Update: {
          "action"?: string | null;
          "connection_id"?: string | null;
          "direction"?: Database["public"]["Enums"]["message_direction"];
          "id"?: string;
          "message_id"?: string | null;
          "payload"?: Json | null;
          "received_at"?: string;
          "reply"?: Json | null;
          "reply_error"?: string | null;
          "station_id"?: string;
          "violations"?: Json | null;
        };
        Relationships: [];
      };
      "station_boots": {
        Row: {
          "payload": NonNullable<Json>;
          "received_at": string;
          "station_id": string;
        };
        ComputedFields: never;
        Insert: {
          "payload": NonNullable<Json>;
          "received_at": string;
          "station_id": string;
        };
        Update: {
          "payload"?: NonNullable<Json>;
          "received_at"?: string;
          "station_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "station_boots_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: true;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "station_boots_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: true;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "station_boots_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: true;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
        ];
      };
      "station_configuration": {
        Row: {
          "key": string;
          "readonly": boolean;
          "reported_at": string;
          "station_id": string;
          "value": string | null;
        };
        ComputedFields: never;
        Insert: {
          "key": string;
          "readonly"?: boolean;
          "reported_at"?: string;
          "station_id": string;
          "value"?: string | null;
        };
        Update: {
          "key"?: string;
          "readonly"?: boolean;
          "reported_at"?: string;
          "station_id"?: string;
          "value"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "station_configuration_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "station_configuration_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "station_configuration_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
        ];
      };
      "station_inbox": {
        Row: {
          "attempts": number;
          "first_seen_at": string;
          "id": string;
          "last_seen_at": string;
          "protocols": (string)[] | null;
          "remote_address": string | null;
          "station_id": string;
          "user_agent": string | null;
        };
        ComputedFields: never;
        Insert: {
          "attempts"?: number;
          "first_seen_at"?: string;
          "id"?: string;
          "last_seen_at"?: string;
          "protocols"?: (string)[] | null;
          "remote_address"?: string | null;
          "station_id": string;
          "user_agent"?: string | null;
        };
        Update: {
          "attempts"?: number;
          "first_seen_at"?: string;
          "id"?: string;
          "last_seen_at"?: string;
          "protocols"?: (string)[] | null;
          "remote_address"?: string | null;
          "station_id"?: string;
          "user_agent"?: string | null;
        };
        Relationships: [];
      };
      "station_totals": {
        Row: {
          "amount": number;
          "currency": string;
          "energy": number;
          "id": number;
          "is_sum": boolean;
          "minutes": number;
          "period": Database["public"]["Enums"]["total_period"];
          "sessions": number;
          "starts_on": string;
          "station_id": string;
        };
        ComputedFields: never;
        Insert: {
          "amount": number;
          "currency": string;
          "energy": number;
          "id"?: never;
          "is_sum"?: boolean;
          "minutes": number;
          "period": Database["public"]["Enums"]["total_period"];
          "sessions": number;
          "starts_on": string;
          "station_id": string;
        };
        Update: {
          "amount"?: number;
          "currency"?: string;
          "energy"?: number;
          "id"?: never;
          "is_sum"?: boolean;
          "minutes"?: number;
          "period"?: Database["public"]["Enums"]["total_period"];
          "sessions"?: number;
          "starts_on"?: string;
          "station_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "station_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "station_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "station_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
        ];
      };
      "stations": {
        Row: {
          "admin_id": string | null;
          "allow_no_subprotocol": boolean;
          "clock_time_zone": string;
          "connector_types": (string)[];
          "created_at": string;
          "currency": string;
          "firmware_version": string | null;
          "hold_implausible": boolean;
          "id": string;
          "installation_date": string | null;
          "last_boot_at": string | null;
          "location_id": string | null;
          "manufacturer": string | null;
          "model": string | null;
          "named_at": string | null;
          "ocpp_error_code": string | null;
          "ocpp_status": Database["public"]["Enums"]["connector_status"] | null;
          "ping_interval_s": number | null;
          "ping_timeout_s": number | null;
          "power_capacity": number | null;
          "price_per_kwh": number | null;
          "registration_status": Database["public"]["Enums"]["registration_status"];
          "serial_number": string | null;
          "session_fee": number | null;
          "status": Database["public"]["Enums"]["station_operation"];
          "strict": boolean;
          "tariff_plan_id": string | null;
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "admin_id"?: string | null;
          "allow_no_subprotocol"?: boolean;
          "clock_time_zone"?: string;
          "connector_types"?: (string)[];
          "created_at"?: string;
          "currency"?: string;
          "firmware_version"?: string | null;
          "hold_implausible"?: boolean;
          "id": string;
          "installation_date"?: string | null;
          "last_boot_at"?: string | null;
          "location_id"?: string | null;
          "manufacturer"?: string | null;
          "model"?: string | null;
          "named_at"?: string | null;
          "ocpp_error_code"?: string | null;
          "ocpp_status"?: Database["public"]["Enums"]["connector_status"] | null;
          "ping_interval_s"?: number | null;
          "ping_timeout_s"?: number | null;
          "power_capacity"?: number | null;
          "price_per_kwh"?: number | null;
          "registration_status"?: Database["public"]["Enums"]["registration_status"];
          "serial_number"?: string | null;
          "session_fee"?: number | null;
          "status"?: Database["public"]["Enums"]["station_operation"];
          "strict"?: boolean;
          "tariff_plan_id"?: string | null;
          "updated_at"?: string;
        };
        Update: {
          "admin_id"?: string | null;
          "allow_no_subprotocol"?: boolean;
          "clock_time_zone"?: string;
          "connector_types"?: (string)[];
          "created_at"?: string;
          "currency"?: string;
          "firmware_version"?: string | null;
          "hold_implausible"?: boolean;
          "id"?: string;
          "installation_date"?: string | null;
          "last_boot_at"?: string | null;
          "location_id"?: string | null;
          "manufacturer"?: string | null;
          "model"?: string | null;
          "named_at"?: string | null;
          "ocpp_error_code"?: string | null;
          "ocpp_status"?: Database["public"]["Enums"]["connector_status"] | null;
          "ping_interval_s"?: number | null;
          "ping_timeout_s"?: number | null;
          "power_capacity"?: number | null;
          "price_per_kwh"?: number | null;
          "registration_status"?: Database["public"]["Enums"]["registration_status"];
          "serial_number"?: string | null;
          "session_fee"?: number | null;
          "status"?: Database["public"]["Enums"]["station_operation"];
          "strict"?: boolean;
          "tariff_plan_id"?: string | null;
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "stations_admin_id_fkey";
            columns: ["admin_id"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "location_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "locations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_tariff_plan_id_fkey";
            columns: ["tariff_plan_id"];
            isOneToOne: false;
            referencedRelation: "tariff_plans";
            referencedColumns: ["id"];
          },
        ];
      };
      "tariff_plans": {
        Row: {
          "client_id": string | null;
          "created_at": string;
          "description": string | null;
          "id": string;
          "imported_at": string | null;
          "is_active": boolean;
          "is_default": boolean;
          "max_price": number | null;
          "max_price_incl_vat": number | null;
          "min_price": number | null;
          "min_price_incl_vat": number | null;
          "name": string;
          "ocpi": Json | null;
          "ocpi_country_code": string | null;
          "ocpi_id": string | null;
          "ocpi_party_id": string | null;
          "tax_included": string | null;
          "updated_at": string;
          "valid_from": string | null;
          "valid_until": string | null;
        };
        ComputedFields: never;
        Insert: {
          "client_id"?: string | null;
          "created_at"?: string;
          "description"?: string | null;
          "id"?: string;
          "imported_at"?: string | null;
          "is_active"?: boolean;
          "is_default"?: boolean;
          "max_price"?: number | null;
          "max_price_incl_vat"?: number | null;
          "min_price"?: number | null;
          "min_price_incl_vat"?: number | null;
          "name": string;
          "ocpi"?: Json | null;
          "ocpi_country_code"?: string | null;
          "ocpi_id"?: string | null;
          "ocpi_party_id"?: string | null;
          "tax_included"?: string | null;
          "updated_at"?: string;
          "valid_from"?: string | null;
          "valid_until"?: string | null;
        };
        Update: {
          "client_id"?: string | null;
          "created_at"?: string;
          "description"?: string | null;
          "id"?: string;
          "imported_at"?: string | null;
          "is_active"?: boolean;
          "is_default"?: boolean;
          "max_price"?: number | null;
          "max_price_incl_vat"?: number | null;
          "min_price"?: number | null;
          "min_price_incl_vat"?: number | null;
          "name"?: string;
          "ocpi"?: Json | null;
          "ocpi_country_code"?: string | null;
          "ocpi_id"?: string | null;
          "ocpi_party_id"?: string | null;
          "tax_included"?: string | null;
          "updated_at"?: string;
          "valid_from"?: string | null;
          "valid_until"?: string | null;
        };
        Relationships: [
          {
            foreignKeyName: "tariff_plans_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
        ];
      };
      "tariff_rules": {
        Row: {
          "connector_type": string;
          "created_at": string;
          "currency": string;
          "date_from": string | null;
          "date_until": string | null;
          "days_of_week": (number)[] | null;
          "id": string;
          "is_active": boolean;
          "is_weekend": boolean;
          "max_current": number | null;
          "max_duration_minutes": number | null;
          "max_kwh": number | null;
          "max_power": number | null;
          "min_current": number | null;
          "min_duration_minutes": number | null;
          "min_kwh": number | null;
          "min_power": number | null;
          "name": string;
          "per_hour": boolean;
          "power_range_max": number;
          "power_range_min": number;
          "price": number;
          "priority": number;
          "reservation": Database["public"]["Enums"]["reservation_restriction"] | null;
          "step_size": number | null;
          "tariff_plan_id": string;
          "tariff_type": Database["public"]["Enums"]["tariff_type"];
          "time_end": string;
          "time_start": string;
          "updated_at": string;
          "valid_from": string | null;
          "valid_until": string | null;
          "vat": number | null;
        };
        ComputedFields: never;
        Insert: {
          "connector_type"?: string;
          "created_at"?: string;
          "currency"?: string;
          "date_from"?: string | null;
          "date_until"?: string | null;
          "days_of_week"?: (number)[] | null;
          "id"?: string;
          "is_active"?: boolean;
          "is_weekend"?: boolean;
          "max_current"?: number | null;
          "max_duration_minutes"?: number | null;
          "max_kwh"?: number | null;
          "max_power"?: number | null;
          "min_current"?: number | null;
          "min_duration_minutes"?: number | null;
          "min_kwh"?: number | null;
          "min_power"?: number | null;
          "name": string;
          "per_hour"?: boolean;
          "power_range_max"?: number;
          "power_range_min"?: number;
          "price": number;
          "priority"?: number;
          "reservation"?: Database["public"]["Enums"]["reservation_restriction"] | null;
          "step_size"?: number | null;
          "tariff_plan_id": string;
          "tariff_type": Database["public"]["Enums"]["tariff_type"];
          "time_end"?: string;
          "time_start"?: string;
          "updated_at"?: string;
          "valid_from"?: string | null;
          "valid_until"?: string | null;
          "vat"?: number | null;
        };
        Update: {
          "connector_type"?: string;
          "created_at"?: string;
          "currency"?: string;
          "date_from"?: string | null;
          "date_until"?: string | null;
          "days_of_week"?: (number)[] | null;
          "id"?: string;
          "is_active"?: boolean;
          "is_weekend"?: boolean;
          "max_current"?: number | null;
          "max_duration_minutes"?: number | null;
          "max_kwh"?: number | null;
          "max_power"?: number | null;
          "min_current"?: number | null;
          "min_duration_minutes"?: number | null;
          "min_kwh"?: number | null;
          "min_power"?: number | null;
          "name"?: string;
          "per_hour"?: boolean;
          "power_range_max"?: number;
          "power_range_min"?: number;
          "price"?: number;
          "priority"?: number;
          "reservation"?: Database["public"]["Enums"]["reservation_restriction"] | null;
          "step_size"?: number | null;
          "tariff_plan_id"?: string;
          "tariff_type"?: Database["public"]["Enums"]["tariff_type"];
          "time_end"?: string;
          "time_start"?: string;
          "updated_at"?: string;
          "valid_from"?: string | null;
          "valid_until"?: string | null;
          "vat"?: number | null;
        };
        Relationships: [
          {
            foreignKeyName: "tariff_rules_tariff_plan_id_fkey";
            columns: ["tariff_plan_id"];
            isOneToOne: false;
            referencedRelation: "tariff_plans";
            referencedColumns: ["id"];
          },
        ];
      };
      "transaction_orphans": {
        Row: {
          "action": string;
          "id": string;
          "payload": NonNullable<Json>;
          "payload_digest": string;
          "received_at": string;
          "reported_transaction_id": number | null;
          "resolved_at": string | null;
          "session_id": string | null;
          "station_id": string;
        };
        ComputedFields: never;
        Insert: {
          "action": string;
          "id"?: string;
          "payload": NonNullable<Json>;
          "payload_digest": string;
          "received_at": string;
          "reported_transaction_id"?: number | null;
          "resolved_at"?: string | null;
          "session_id"?: string | null;
          "station_id": string;
        };
        Update: {
          "action"?: string;
          "id"?: string;
          "payload"?: NonNullable<Json>;
          "payload_digest"?: string;
          "received_at"?: string;
          "reported_transaction_id"?: number | null;
          "resolved_at"?: string | null;
          "session_id"?: string | null;
          "station_id"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "transaction_orphans_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "charging_sessions";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "transaction_orphans_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "session_history";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "transaction_orphans_session_id_fkey";
            columns: ["session_id"];
            isOneToOne: false;
            referencedRelation: "sessions_under_way";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "transaction_orphans_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "transaction_orphans_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "transaction_orphans_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
        ];
      };
      "users": {
        Row: {
          "admin_id": string | null;
          "client_id": string | null;
          "created_at": string;
          "email": string | null;
          "full_name": string | null;
          "id": string;
          "is_active": boolean;
          "phone": string | null;
          "role": Database["public"]["Enums"]["user_role"];
          "updated_at": string;
        };
        ComputedFields: never;
        Insert: {
          "admin_id"?: string | null;
          "client_id"?: string | null;
          "created_at"?: string;
          "email"?: string | null;
          "full_name"?: string | null;
          "id": string;
          "is_active"?: boolean;
          "phone"?: string | null;
          "role"?: Database["public"]["Enums"]["user_role"];
          "updated_at"?: string;
        };
        Update: {
          "admin_id"?: string | null;
          "client_id"?: string | null;
          "created_at"?: string;
          "email"?: string | null;
          "full_name"?: string | null;
          "id"?: string;
          "is_active"?: boolean;
          "phone"?: string | null;
          "role"?: Database["public"]["Enums"]["user_role"];
          "updated_at"?: string;
        };
        Relationships: [
          {
            foreignKeyName: "users_admin_id_fkey";
            columns: ["admin_id"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "users_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
        ];
      };
    };
    Views: {
      "connections": {
        Row: {
          "bridge_id": string | null;
          "connected_at": string | null;
          "connection_id": string | null;
          "last_message_at": string | null;
          "protocol": string | null;
          "remote_address": string | null;
          "station_id": string | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      "connector_overview": {
        Row: {
          "availability": Database["public"]["Enums"]["availability"] | null;
          "error_code": string | null;
          "id": string;
          "info": string | null;
          "location_id": string | null;
          "number": number;
          "power": number | null;
          "session_id": string | null;
          "station_id": string;
          "station_operation": Database["public"]["Enums"]["station_operation"];
          "status": Database["public"]["Enums"]["connector_status"] | null;
          "status_at": string | null;
          "type": string | null;
          "vendor_error_code": string | null;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "connectors_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "connectors_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "connectors_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "location_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "locations";
            referencedColumns: ["id"];
          },
        ];
      };
      "connector_prices": {
        Row: {
          "currency": string | null;
          "location_id": string | null;
          "number": number | null;
          "price_per_kwh": number | null;
          "session_fee": number | null;
          "station_id": string | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      "faults": {
        Row: {
          "command_id": string | null;
          "connector_id": number | null;
          "kind": Database["public"]["Enums"]["fault_kind"] | null;
          "location_id": string | null;
          "location_name": string | null;
          "session_id": string | null;
          "since": string | null;
          "station_id": string | null;
          "what": string | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      "location_overview": {
        Row: {
          "address": string | null;
          "availability": Database["public"]["Enums"]["availability"] | null;
          "city": string | null;
          "client_id": string | null;
          "connector_types": (string)[] | null;
          "connectors_count": number | null;
          "connectors_faulted": number | null;
          "connectors_free": number | null;
          "connectors_in_use": number | null;
          "connectors_offline": number | null;
          "connectors_unavailable": number | null;
          "country": string;
          "currency": string | null;
          "distance_km": number | null;
          "id": string;
          "latitude": number | null;
          "longitude": number | null;
          "max_power": number | null;
          "name": string;
          "price_from": number | null;
          "stations_count": number | null;
          "time_zone": string;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "locations_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
        ];
      };
      "location_prices": {
        Row: {
          "currency": string | null;
          "location_id": string | null;
          "price_from": number | null;
        };
        ComputedFields: never;
        Relationships: [];
      };
      "monthly_totals_by_company": {
        Row: {
          "amount": number | null;
          "client_id": string | null;
          "client_name": string | null;
          "currency": string;
          "energy": number | null;
          "minutes": number | null;
          "month": string;
          "sessions": number | null;
          "stations": number | null;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "locations_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
        ];
      };
      "monthly_totals_by_driver": {
        Row: {
          "amount": number | null;
          "currency": string;
          "driver_name": string | null;
          "energy": number | null;
          "minutes": number | null;
          "month": string;
          "sessions": number | null;
          "user_id": string;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "driver_totals_user_id_fkey";
            columns: ["user_id"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
        ];
      };
      "monthly_totals_by_station": {
        Row: {
          "amount": number | null;
          "currency": string;
          "energy": number | null;
          "location_id": string | null;
          "location_name": string | null;
          "minutes": number | null;
          "month": string;
          "sessions": number | null;
          "station_id": string;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "station_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "station_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "station_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "location_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "locations";
            referencedColumns: ["id"];
          },
        ];
      };
      "revenue_by_day": {
        Row: {
          "amount": number | null;
          "client_id": string | null;
          "currency": string;
          "day": string;
          "energy": number | null;
          "location_id": string | null;
          "location_name": string | null;
          "minutes": number | null;
          "sessions": number | null;
          "station_id": string;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "locations_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "station_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "station_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "station_totals_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "location_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "locations";
            referencedColumns: ["id"];
          },
        ];
      };
      "revenue_by_day_and_company": {
        Row: {
          "amount": number | null;
          "client_id": string | null;
          "currency": string;
          "day": string;
          "energy": number | null;
          "minutes": number | null;
          "sessions": number | null;
          "stations": number | null;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "locations_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
        ];
      };
      "session_history": {
        Row: {
          "address": string | null;
          "amount": number;
          "city": string | null;
          "client_id": string | null;
          "client_name": string | null;
          "company_id": string | null;
          "connector_id": number | null;
          "created_at": string;
          "currency": string;
          "driver_name": string | null;
          "energy": number;
          "error": string | null;
          "flags": (string)[];
          "held_amount": number;
          "id": string;
          "id_tag": string | null;
          "limit_amount": number | null;
          "limit_energy_kwh": number | null;
          "limit_type": Database["public"]["Enums"]["limit_type"];
          "location_id": string | null;
          "location_name": string | null;
          "minutes": number | null;
          "power_w": number | null;
          "settled_at": string | null;
          "soc_percent": number | null;
          "start_time": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["session_status"];
          "stop_reason": string | null;
          "stop_time": string | null;
          "time_zone": string | null;
          "transaction_id": number;
          "unpaid_amount": number;
          "user_id": string | null;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "charging_sessions_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_connector_id_fkey";
            columns: ["station_id", "connector_id"];
            isOneToOne: false;
            referencedRelation: "connector_overview";
            referencedColumns: ["station_id", "number"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_connector_id_fkey";
            columns: ["station_id", "connector_id"];
            isOneToOne: false;
            referencedRelation: "connectors";
            referencedColumns: ["station_id", "number"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "charging_sessions_user_id_fkey";
            columns: ["user_id"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
        ];
      };
      "sessions_under_way": {
        Row: {
          "address": string | null;
          "amount": number;
          "city": string | null;
          "client_id": string | null;
          "client_name": string | null;
          "company_id": string | null;
          "connector_id": number | null;
          "created_at": string;
          "currency": string;
          "driver_name": string | null;
          "energy": number;
          "error": string | null;
          "flags": (string)[];
          "held_amount": number;
          "id": string;
          "id_tag": string | null;
          "limit_amount": number | null;
          "limit_energy_kwh": number | null;
          "limit_type": Database["public"]["Enums"]["limit_type"];
          "location_id": string | null;
          "location_name": string | null;
          "minutes": number | null;
          "power_w": number | null;
          "settled_at": string | null;
          "soc_percent": number | null;
          "start_time": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["session_status"];
          "stop_reason": string | null;
          "stop_time": string | null;
          "time_zone": string | null;
          "transaction_id": number;
          "unpaid_amount": number;
          "user_id": string | null;
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "charging_sessions_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_connector_id_fkey";
            columns: ["station_id", "connector_id"];
            isOneToOne: false;
            referencedRelation: "connector_overview";
            referencedColumns: ["station_id", "number"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_connector_id_fkey";
            columns: ["station_id", "connector_id"];
            isOneToOne: false;
            referencedRelation: "connectors";
            referencedColumns: ["station_id", "number"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "station_status";
            referencedColumns: ["station_id"];
          },
          {
            foreignKeyName: "charging_sessions_station_id_fkey";
            columns: ["station_id"];
            isOneToOne: false;
            referencedRelation: "stations";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "charging_sessions_user_id_fkey";
            columns: ["user_id"];
            isOneToOne: false;
            referencedRelation: "users";
            referencedColumns: ["id"];
          },
        ];
      };
      "station_overview": {
        Row: {
          "address": string | null;
          "availability": Database["public"]["Enums"]["availability"] | null;
          "city": string | null;
          "client_id": string | null;
          "connector_types": (string)[];
          "connectors": Json | null;
          "connectors_count": number | null;
          "connectors_free": number | null;
          "currency": string | null;
          "id": string;
          "last_seen_at": string | null;
          "latitude": number | null;
          "location_id": string | null;
          "location_name": string | null;
          "longitude": number | null;
          "manufacturer": string | null;
          "model": string | null;
          "online": boolean | null;
          "power_capacity": number | null;
          "price_from": number | null;
          "status": Database["public"]["Enums"]["station_operation"];
        };
        ComputedFields: never;
        Relationships: [
          {
            foreignKeyName: "locations_client_id_fkey";
            columns: ["client_id"];
            isOneToOne: false;
            referencedRelation: "clients";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "location_overview";
            referencedColumns: ["id"];
          },
          {
            foreignKeyName: "stations_location_id_fkey";
            columns: ["location_id"];
            isOneToOne: false;
            referencedRelation: "locations";
            referencedColumns: ["id"];
          },
        ];
      };
      "station_status": {
        Row: {
          "connectors": Json | null;
          "last_seen_at": string | null;
          "online": boolean | null;
          "registration_status": Database["public"]["Enums"]["registration_status"];
          "station_id": string;
          "status": Database["public"]["Enums"]["station_operation"];
        };
        ComputedFields: never;
        Relationships: [];
      };
      "waiting_stations": {
        Row: {
          "attempts": number;
          "first_seen_at": string;
          "id": string;
          "last_seen_at": string;
          "protocols": (string)[] | null;
          "remote_address": string | null;
          "station_id": string;
          "still_knocking": boolean | null;
          "user_agent": string | null;
        };
        ComputedFields: never;
        Insert: {
          "attempts"?: number | null;
          "first_seen_at"?: string | null;
          "id"?: string | null;
          "last_seen_at"?: string | null;
          "protocols"?: (string)[] | null;
          "remote_address"?: string | null;
          "station_id"?: string | null;
          "still_knocking"?: never;
          "user_agent"?: string | null;
        };
        Update: {
          "attempts"?: number | null;
          "first_seen_at"?: string | null;
          "id"?: string | null;
          "last_seen_at"?: string | null;
          "protocols"?: (string)[] | null;
          "remote_address"?: string | null;
          "station_id"?: string | null;
          "still_knocking"?: never;
          "user_agent"?: string | null;
        };
        Relationships: [];
      };
    };
    Functions: {
      "adopt_station": {
        Args: { "location_id"?: string; "station_id": string };
        Returns: {
          "admin_id": string | null;
          "allow_no_subprotocol": boolean;
          "clock_time_zone": string;
          "connector_types": (string)[];
          "created_at": string;
          "currency": string;
          "firmware_version": string | null;
          "hold_implausible": boolean;
          "id": string;
          "installation_date": string | null;
          "last_boot_at": string | null;
          "location_id": string | null;
          "manufacturer": string | null;
          "model": string | null;
          "named_at": string | null;
          "ocpp_error_code": string | null;
          "ocpp_status": Database["public"]["Enums"]["connector_status"] | null;
          "ping_interval_s": number | null;
          "ping_timeout_s": number | null;
          "power_capacity": number | null;
          "price_per_kwh": number | null;
          "registration_status": Database["public"]["Enums"]["registration_status"];
          "serial_number": string | null;
          "session_fee": number | null;
          "status": Database["public"]["Enums"]["station_operation"];
          "strict": boolean;
          "tariff_plan_id": string | null;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "stations";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "bridge_heartbeat": { Args: { "bridge_id": string; "seen"?: Json; "settings"?: Json }; Returns: Json };
      "calculate_cost": {
        Args: {
          "at"?: string;
          "connector_id"?: number;
          "energy_kwh": number;
          "minutes"?: number;
          "parking_minutes"?: number;
          "station_id": string;
        };
        Returns: Json;
      };
      "cancel_command": {
        Args: { "command_id": string };
        Returns: {
          "action": string;
          "answered_at": string | null;
          "attempts": number;
          "connection_id": string | null;
          "created_at": string;
          "created_by": string | null;
          "effect_at": string | null;
          "error": string | null;
          "expires_at": string;
          "id": string;
          "late": boolean;
          "payload": NonNullable<Json>;
          "result": Json | null;
          "sent_at": string | null;
          "session_id": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["command_status"];
          "timeout_s": number;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "commands";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "claim_commands": {
        Args: { "bridge_id": string; "holding"?: (string)[]; "max_commands"?: number };
        Returns: Json;
      };
      "close_session": {
        Args: { "session_id": string };
        Returns: {
          "amount": number;
          "client_id": string | null;
          "clock_offset": string;
          "connector_id": number | null;
          "created_at": string;
          "currency": string;
          "energy": number;
          "energy_wh": number;
          "error": string | null;
          "expires_at": string | null;
          "flags": (string)[];
          "held_amount": number;
          "id": string;
          "id_tag": string | null;
          "limit_amount": number | null;
          "limit_energy_kwh": number | null;
          "limit_reached_at": string | null;
          "limit_type": Database["public"]["Enums"]["limit_type"];
          "limit_warned_at": string | null;
          "live_at": string | null;
          "meter_base_wh": number | null;
          "meter_last_at": string | null;
          "meter_last_wh": number | null;
          "meter_max_wh": number | null;
          "meter_restarted": boolean;
          "meter_start_wh": number | null;
          "meter_steps_wh": number;
          "meter_stop_wh": number | null;
          "parking_start_time": string | null;
          "power_w": number | null;
          "priced_at": string | null;
          "priced_energy_wh": number | null;
          "provisional_at": string | null;
          "receipt": Json | null;
          "reported_start": string | null;
          "reservation_id": number | null;
          "settled_at": string | null;
          "soc_percent": number | null;
          "start_key": string | null;
          "start_reply": Json | null;
          "start_time": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["session_status"];
          "stop_id_tag": string | null;
          "stop_key": string | null;
          "stop_reason": string | null;
          "stop_requested_at": string | null;
          "stop_time": string | null;
          "tariff": Json | null;
          "transaction_id": number;
          "unpaid_amount": number;
          "updated_at": string;
          "user_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "charging_sessions";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "correct_balance": {
        Args: { "amount": number; "client_id": string; "reason": string; "reference"?: string };
        Returns: {
          "amount": number;
          "client_id": string;
          "created_at": string;
          "created_by": string | null;
          "currency": string;
          "hold_id": string | null;
          "id": string;
          "kind": Database["public"]["Enums"]["ledger_kind"];
          "note": string | null;
          "reference": string | null;
          "session_id": string | null;
          "station_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "ledger_entries";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "cost_of_periods": { Args: { "periods": Json; "plan_id": string; "time_zone": string }; Returns: Json };
      "delete_session": { Args: { "session_id": string }; Returns: undefined };
      "disconnect_station": { Args: { "station_id": string }; Returns: undefined };
      "export_ocpi_tariff": {
        Args: { "connector_type"?: string; "plan_id": string; "power_kw"?: number };
        Returns: Json;
      };
      "import_ocpi_tariff": {
        Args: { "client_id"?: string; "tariff": Json };
        Returns: {
          "client_id": string | null;
          "created_at": string;
          "description": string | null;
          "id": string;
          "imported_at": string | null;
          "is_active": boolean;
          "is_default": boolean;
          "max_price": number | null;
          "max_price_incl_vat": number | null;
          "min_price": number | null;
          "min_price_incl_vat": number | null;
          "name": string;
          "ocpi": Json | null;
          "ocpi_country_code": string | null;
          "ocpi_id": string | null;
          "ocpi_party_id": string | null;
          "tax_included": string | null;
          "updated_at": string;
          "valid_from": string | null;
          "valid_until": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "tariff_plans";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "nearby_locations": {
        Args: { "latitude": number; "longitude": number; "radius_km"?: number };
        Returns: {
          "address": string | null;
          "availability": Database["public"]["Enums"]["availability"] | null;
          "city": string | null;
          "client_id": string | null;
          "connector_types": (string)[] | null;
          "connectors_count": number | null;
          "connectors_faulted": number | null;
          "connectors_free": number | null;
          "connectors_in_use": number | null;
          "connectors_offline": number | null;
          "connectors_unavailable": number | null;
          "country": string;
          "currency": string | null;
          "distance_km": number | null;
          "id": string;
          "latitude": number | null;
          "longitude": number | null;
          "max_power": number | null;
          "name": string;
          "price_from": number | null;
          "stations_count": number | null;
          "time_zone": string;
        }[];
        SetofOptions: {
          from: "*";
          to: "location_overview";
          isOneToOne: false;
          isSetofReturn: true;
        };
      };
      "next_rate_change": { Args: { "at"?: string; "connector_id"?: number; "station_id": string }; Returns: Json };
      "ocpp_ingest": { Args: { "events": Json }; Returns: Json };
      "receipt": { Args: { "session_id": string }; Returns: Json };
      "refund_session": {
        Args: { "amount": number; "reason": string; "reference"?: string; "session_id": string };
        Returns: {
          "amount": number;
          "client_id": string;
          "created_at": string;
          "created_by": string | null;
          "currency": string;
          "hold_id": string | null;
          "id": string;
          "kind": Database["public"]["Enums"]["ledger_kind"];
          "note": string | null;
          "reference": string | null;
          "session_id": string | null;
          "station_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "ledger_entries";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "release_session": {
        Args: { "session_id": string };
        Returns: {
          "amount": number;
          "client_id": string | null;
          "clock_offset": string;
          "connector_id": number | null;
          "created_at": string;
          "currency": string;
          "energy": number;
          "energy_wh": number;
          "error": string | null;
          "expires_at": string | null;
          "flags": (string)[];
          "held_amount": number;
          "id": string;
          "id_tag": string | null;
          "limit_amount": number | null;
          "limit_energy_kwh": number | null;
          "limit_reached_at": string | null;
          "limit_type": Database["public"]["Enums"]["limit_type"];
          "limit_warned_at": string | null;
          "live_at": string | null;
          "meter_base_wh": number | null;
          "meter_last_at": string | null;
          "meter_last_wh": number | null;
          "meter_max_wh": number | null;
          "meter_restarted": boolean;
          "meter_start_wh": number | null;
          "meter_steps_wh": number;
          "meter_stop_wh": number | null;
          "parking_start_time": string | null;
          "power_w": number | null;
          "priced_at": string | null;
          "priced_energy_wh": number | null;
          "provisional_at": string | null;
          "receipt": Json | null;
          "reported_start": string | null;
          "reservation_id": number | null;
          "settled_at": string | null;
          "soc_percent": number | null;
          "start_key": string | null;
          "start_reply": Json | null;
          "start_time": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["session_status"];
          "stop_id_tag": string | null;
          "stop_key": string | null;
          "stop_reason": string | null;
          "stop_requested_at": string | null;
          "stop_time": string | null;
          "tariff": Json | null;
          "transaction_id": number;
          "unpaid_amount": number;
          "updated_at": string;
          "user_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "charging_sessions";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "send_command": {
        Args: { "action": string; "expires_in"?: string; "payload"?: Json; "station_id": string };
        Returns: {
          "action": string;
          "answered_at": string | null;
          "attempts": number;
          "connection_id": string | null;
          "created_at": string;
          "created_by": string | null;
          "effect_at": string | null;
          "error": string | null;
          "expires_at": string;
          "id": string;
          "late": boolean;
          "payload": NonNullable<Json>;
          "result": Json | null;
          "sent_at": string | null;
          "session_id": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["command_status"];
          "timeout_s": number;
          "updated_at": string;
        };
        SetofOptions: {
          from: "*";
          to: "commands";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "set_station_password": { Args: { "password": string; "station_id": string }; Returns: undefined };
      "simulate_tariff": { Args: { "from": string; "plan_id": string; "to": string }; Returns: Json };
      "start_charge": {
        Args: { "connector_id"?: number; "limit_amount"?: number; "limit_energy_kwh"?: number; "station_id": string };
        Returns: {
          "amount": number;
          "client_id": string | null;
          "clock_offset": string;
          "connector_id": number | null;
          "created_at": string;
          "currency": string;
          "energy": number;
          "energy_wh": number;
          "error": string | null;
          "expires_at": string | null;
          "flags": (string)[];
          "held_amount": number;
          "id": string;
          "id_tag": string | null;
          "limit_amount": number | null;
          "limit_energy_kwh": number | null;
          "limit_reached_at": string | null;
          "limit_type": Database["public"]["Enums"]["limit_type"];
          "limit_warned_at": string | null;
          "live_at": string | null;
          "meter_base_wh": number | null;
          "meter_last_at": string | null;
          "meter_last_wh": number | null;
          "meter_max_wh": number | null;
          "meter_restarted": boolean;
          "meter_start_wh": number | null;
          "meter_steps_wh": number;
          "meter_stop_wh": number | null;
          "parking_start_time": string | null;
          "power_w": number | null;
          "priced_at": string | null;
          "priced_energy_wh": number | null;
          "provisional_at": string | null;
          "receipt": Json | null;
          "reported_start": string | null;
          "reservation_id": number | null;
          "settled_at": string | null;
          "soc_percent": number | null;
          "start_key": string | null;
          "start_reply": Json | null;
          "start_time": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["session_status"];
          "stop_id_tag": string | null;
          "stop_key": string | null;
          "stop_reason": string | null;
          "stop_requested_at": string | null;
          "stop_time": string | null;
          "tariff": Json | null;
          "transaction_id": number;
          "unpaid_amount": number;
          "updated_at": string;
          "user_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "charging_sessions";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "start_charge_for": {
        Args: {
          "connector_id"?: number;
          "limit_amount"?: number;
          "limit_energy_kwh"?: number;
          "station_id": string;
          "user_id": string;
        };
        Returns: {
          "amount": number;
          "client_id": string | null;
          "clock_offset": string;
          "connector_id": number | null;
          "created_at": string;
          "currency": string;
          "energy": number;
          "energy_wh": number;
          "error": string | null;
          "expires_at": string | null;
          "flags": (string)[];
          "held_amount": number;
          "id": string;
          "id_tag": string | null;
          "limit_amount": number | null;
          "limit_energy_kwh": number | null;
          "limit_reached_at": string | null;
          "limit_type": Database["public"]["Enums"]["limit_type"];
          "limit_warned_at": string | null;
          "live_at": string | null;
          "meter_base_wh": number | null;
          "meter_last_at": string | null;
          "meter_last_wh": number | null;
          "meter_max_wh": number | null;
          "meter_restarted": boolean;
          "meter_start_wh": number | null;
          "meter_steps_wh": number;
          "meter_stop_wh": number | null;
          "parking_start_time": string | null;
          "power_w": number | null;
          "priced_at": string | null;
          "priced_energy_wh": number | null;
          "provisional_at": string | null;
          "receipt": Json | null;
          "reported_start": string | null;
          "reservation_id": number | null;
          "settled_at": string | null;
          "soc_percent": number | null;
          "start_key": string | null;
          "start_reply": Json | null;
          "start_time": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["session_status"];
          "stop_id_tag": string | null;
          "stop_key": string | null;
          "stop_reason": string | null;
          "stop_requested_at": string | null;
          "stop_time": string | null;
          "tariff": Json | null;
          "transaction_id": number;
          "unpaid_amount": number;
          "updated_at": string;
          "user_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "charging_sessions";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "stop_charge": {
        Args: { "session_id": string };
        Returns: {
          "amount": number;
          "client_id": string | null;
          "clock_offset": string;
          "connector_id": number | null;
          "created_at": string;
          "currency": string;
          "energy": number;
          "energy_wh": number;
          "error": string | null;
          "expires_at": string | null;
          "flags": (string)[];
          "held_amount": number;
          "id": string;
          "id_tag": string | null;
          "limit_amount": number | null;
          "limit_energy_kwh": number | null;
          "limit_reached_at": string | null;
          "limit_type": Database["public"]["Enums"]["limit_type"];
          "limit_warned_at": string | null;
          "live_at": string | null;
          "meter_base_wh": number | null;
          "meter_last_at": string | null;
          "meter_last_wh": number | null;
          "meter_max_wh": number | null;
          "meter_restarted": boolean;
          "meter_start_wh": number | null;
          "meter_steps_wh": number;
          "meter_stop_wh": number | null;
          "parking_start_time": string | null;
          "power_w": number | null;
          "priced_at": string | null;
          "priced_energy_wh": number | null;
          "provisional_at": string | null;
          "receipt": Json | null;
          "reported_start": string | null;
          "reservation_id": number | null;
          "settled_at": string | null;
          "soc_percent": number | null;
          "start_key": string | null;
          "start_reply": Json | null;
          "start_time": string | null;
          "station_id": string;
          "status": Database["public"]["Enums"]["session_status"];
          "stop_id_tag": string | null;
          "stop_key": string | null;
          "stop_reason": string | null;
          "stop_requested_at": string | null;
          "stop_time": string | null;
          "tariff": Json | null;
          "transaction_id": number;
          "unpaid_amount": number;
          "updated_at": string;
          "user_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "charging_sessions";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "top_up_account": {
        Args: { "amount": number; "client_id": string; "note"?: string; "reference": string };
        Returns: {
          "amount": number;
          "client_id": string;
          "created_at": string;
          "created_by": string | null;
          "currency": string;
          "hold_id": string | null;
          "id": string;
          "kind": Database["public"]["Enums"]["ledger_kind"];
          "note": string | null;
          "reference": string | null;
          "session_id": string | null;
          "station_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "ledger_entries";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
      "waive_unpaid": {
        Args: { "reason": string; "session_id": string };
        Returns: {
          "amount": number;
          "client_id": string;
          "created_at": string;
          "created_by": string | null;
          "currency": string;
          "hold_id": string | null;
          "id": string;
          "kind": Database["public"]["Enums"]["ledger_kind"];
          "note": string | null;
          "reference": string | null;
          "session_id": string | null;
          "station_id": string | null;
        };
        SetofOptions: {
          from: "*";
          to: "ledger_entries";
          isOneToOne: true;
          isSetofReturn: false;
        };
      };
    };
    Enums: {
      "availability": "free" | "in_use" | "faulted" | "unavailable" | "offline";
      "client_kind": "operator" | "account";
      "client_status": "active" | "inactive" | "blocked";
      "command_status": "queued" | "sent" | "accepted" | "rejected" | "failed" | "timed_out" | "expired" | "cancelled";
      "connector_status":
        | "Available"
        | "Preparing"
        | "Charging"
        | "SuspendedEVSE"
        | "SuspendedEV"
        | "Finishing"
        | "Reserved"
        | "Unavailable"
        | "Faulted";
      "fault_kind":
        | "station_offline"
        | "station_faulted"
        | "connector_faulted"
        | "command_failed"
        | "session_flagged"
        | "stop_unclaimed";
      "id_tag_status": "Accepted" | "Blocked" | "Expired" | "Invalid";
      "ledger_kind": "top_up" | "hold" | "release" | "charge" | "refund" | "waiver" | "correction";
      "limit_type": "none" | "energy" | "amount" | "both";
      "maintenance_status": "pending" | "in_progress" | "completed" | "cancelled";
      "message_direction": "from_station" | "to_station";
      "registration_status": "Accepted" | "Pending" | "Rejected";
      "reservation_restriction": "RESERVATION" | "RESERVATION_EXPIRES";
      "session_status": "pending" | "started" | "stopped" | "error";
      "station_operation": "active" | "inactive" | "maintenance";
      "tariff_type": "per_kwh" | "per_minute" | "session_fee" | "parking_fee";
      "total_period": "day" | "month";
      "user_role": "driver" | "operator" | "admin" | "superadmin" | "bridge";
    };
    CompositeTypes: {
      [_ in never]: never;
    };
  };
};

type DatabaseWithoutInternals = Omit<Database, "__InternalSupabase">;

type DefaultSchema = DatabaseWithoutInternals[Extract<keyof Database, "public">];

export type Tables<
  DefaultSchemaTableNameOrOptions extends
    | keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof (
      & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
      & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"]
    )
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals } ? (
    & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    & DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Views"]
  )[TableName] extends {
    Row: infer R;
  } ? R
  : never
  : DefaultSchemaTableNameOrOptions extends keyof (DefaultSchema["Tables"] & DefaultSchema["Views"])
    ? (DefaultSchema["Tables"] & DefaultSchema["Views"])[DefaultSchemaTableNameOrOptions] extends {
      Row: infer R;
    } ? R
    : never
  : never;

export type TablesInsert<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
    Insert: infer I;
  } ? I
  : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Insert: infer I;
    } ? I
    : never
  : never;

export type TablesUpdate<
  DefaultSchemaTableNameOrOptions extends
    | keyof DefaultSchema["Tables"]
    | { schema: keyof DatabaseWithoutInternals },
  TableName extends DefaultSchemaTableNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"]
    : never = never,
> = DefaultSchemaTableNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaTableNameOrOptions["schema"]]["Tables"][TableName] extends {
    Update: infer U;
  } ? U
  : never
  : DefaultSchemaTableNameOrOptions extends keyof DefaultSchema["Tables"]
    ? DefaultSchema["Tables"][DefaultSchemaTableNameOrOptions] extends {
      Update: infer U;
    } ? U
    : never
  : never;

export type Enums<
  DefaultSchemaEnumNameOrOptions extends
    | keyof DefaultSchema["Enums"]
    | { schema: keyof DatabaseWithoutInternals },
  EnumName extends DefaultSchemaEnumNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"]
    : never = never,
> = DefaultSchemaEnumNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[DefaultSchemaEnumNameOrOptions["schema"]]["Enums"][EnumName]
  : DefaultSchemaEnumNameOrOptions extends keyof DefaultSchema["Enums"]
    ? DefaultSchema["Enums"][DefaultSchemaEnumNameOrOptions]
  : never;

export type CompositeTypes<
  PublicCompositeTypeNameOrOptions extends
    | keyof DefaultSchema["CompositeTypes"]
    | { schema: keyof DatabaseWithoutInternals },
  CompositeTypeName extends PublicCompositeTypeNameOrOptions extends {
    schema: keyof DatabaseWithoutInternals;
  } ? keyof DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"]
    : never = never,
> = PublicCompositeTypeNameOrOptions extends { schema: keyof DatabaseWithoutInternals }
  ? DatabaseWithoutInternals[PublicCompositeTypeNameOrOptions["schema"]]["CompositeTypes"][CompositeTypeName]
  : PublicCompositeTypeNameOrOptions extends keyof DefaultSchema["CompositeTypes"]
    ? DefaultSchema["CompositeTypes"][PublicCompositeTypeNameOrOptions]
  : never;

export const Constants = {
  "public": {
    Enums: {
      "availability": ["free", "in_use", "faulted", "unavailable", "offline"],
      "client_kind": ["operator", "account"],
      "client_status": ["active", "inactive", "blocked"],
      "command_status": ["queued", "sent", "accepted", "rejected", "failed", "timed_out", "expired", "cancelled"],
      "connector_status": [
        "Available",
        "Preparing",
        "Charging",
        "SuspendedEVSE",
        "SuspendedEV",
        "Finishing",
        "Reserved",
        "Unavailable",
        "Faulted",
      ],
      "fault_kind": [
        "station_offline",
        "station_faulted",
        "connector_faulted",
        "command_failed",
        "session_flagged",
        "stop_unclaimed",
      ],
      "id_tag_status": ["Accepted", "Blocked", "Expired", "Invalid"],
      "ledger_kind": ["top_up", "hold", "release", "charge", "refund", "waiver", "correction"],
      "limit_type": ["none", "energy", "amount", "both"],
      "maintenance_status": ["pending", "in_progress", "completed", "cancelled"],
      "message_direction": ["from_station", "to_station"],
      "registration_status": ["Accepted", "Pending", "Rejected"],
      "reservation_restriction": ["RESERVATION", "RESERVATION_EXPIRES"],
      "session_status": ["pending", "started", "stopped", "error"],
      "station_operation": ["active", "inactive", "maintenance"],
      "tariff_type": ["per_kwh", "per_minute", "session_fee", "parking_fee"],
      "total_period": ["day", "month"],
      "user_role": ["driver", "operator", "admin", "superadmin", "bridge"],
    },
  },
} as const;
