-- An operator who adds a location or a tariff plan need not know the company's id: the old service's requests have none.
alter table public.locations alter column client_id set default private.operated_client_id();
alter table public.tariff_plans alter column client_id set default private.operated_client_id();
comment on column public.locations.client_id is 'The company that owns the location: the tenant of everything in it. Left out by an operator: their own.';
comment on column public.tariff_plans.client_id is 'The company whose plan it is; null: of the whole service. Left out by an operator: their own.';
