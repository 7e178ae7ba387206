// Run by test_realtime_official_clients.py: talks to a project with the official JavaScript client.
// {"send": {...}} on a line of its own asks the test for a message from the database; {"name": ...} is a result.
import { createRequire } from 'node:module'

const { createClient } = createRequire(`${process.env.NODE_MODULES}/`)('@supabase/supabase-js')
const { SUPABASE_URL, SUPABASE_KEY, TOKEN, TOKEN_2, VSN } = process.env

const connect = () =>
  createClient(SUPABASE_URL, SUPABASE_KEY, { realtime: { vsn: VSN }, auth: { persistSession: false } })
const tell = (value) => process.stdout.write(`${JSON.stringify(value)}\n`)
const subscribed = (channel) =>
  new Promise((resolve, reject) =>
    channel.subscribe((status, error) =>
      status === 'SUBSCRIBED' ? resolve(channel) : reject(new Error(`${status}: ${error}`)),
    ),
  )
const heard = (channel, event = '*') => {
  const payloads = []
  const waiting = []
  channel.on('broadcast', { event }, ({ payload }) => {
    payloads.push(payload)
    waiting.splice(0).forEach((resolve) => resolve())
  })
  const until = async (count) => {
    while (payloads.length < count) await new Promise((resolve) => waiting.push(resolve))
    return payloads
  }
  return { until }
}

const one = connect()
const two = connect()

const receiver = one.channel('public')
const received = heard(receiver)
const sender = two.channel('public', { config: { broadcast: { self: true, ack: true } } })
const own = heard(sender)
await subscribed(receiver)
await subscribed(sender)
tell({ ack: await sender.send({ type: 'broadcast', event: 'cursor', payload: { x: 1 } }) })
tell({ public: await received.until(1), own: await own.until(1) })

await one.realtime.setAuth(TOKEN)
const room = one.channel('room:open', { config: { private: true } })
const messages = heard(room, 'ev')
await subscribed(room)
tell({ send: { topic: 'room:open', payload: { n: 1 } } })
await messages.until(1)
await one.realtime.setAuth(TOKEN_2)
tell({ send: { topic: 'room:open', payload: { n: 2 } } })
tell({ private: await messages.until(2) })

const watcher = two.channel('lobby')
const joins = new Promise((resolve) =>
  watcher.on('presence', { event: 'join' }, ({ key, newPresences }) => resolve([[key, newPresences[0].name]])),
)
await subscribed(watcher)
const tracked = one.channel('lobby', { config: { presence: { key: 'js' } } })
tracked.on('presence', { event: 'sync' }, () => {})
await subscribed(tracked)
await tracked.track({ name: 'Node' })
tell({ presence: await joins })

const byHttp = one.channel('http')
const fromHttp = heard(byHttp)
await subscribed(byHttp)
await two.channel('http').httpSend('e', { via: 'http' })
tell({ http: await fromHttp.until(1) })

const forbidden = one.channel('elsewhere', { config: { private: true } })
tell({ refused: await new Promise((resolve) => forbidden.subscribe((status) => resolve(status))) })
await Promise.all([one.removeAllChannels(), two.removeAllChannels()])
process.exit(0)
