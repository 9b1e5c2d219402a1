// A chart as small as a word: one line over the last minute and a half, its newest point at the right edge.
import { windowSeconds } from './live'

interface Props {
    times: number[] // ms
    values: (number | null)[]
    now: number
    label: string
    fill?: boolean
    fromZero?: boolean
}

const width = 120
const height = 28

export function Spark({ times, values, now, label, fill = false, fromZero = true }: Props) {
    const begin = now - windowSeconds * 1000
    const points: [number, number][] = []
    for (let i = 0; i < times.length; ++i) {
        const value = values[i]
        if (value !== null && times[i] >= begin - 2000) points.push([times[i], value])
    }
    if (points.length < 2) return <svg class="spark" viewBox={`0 0 ${width} ${height}`} aria-hidden="true" />
    let low = fromZero ? 0 : Infinity
    let high = -Infinity
    for (const [, value] of points) {
        low = Math.min(low, value)
        high = Math.max(high, value)
    }
    // A value that hardly moves is a line in the middle, not noise blown up.
    const span = Math.max(high - low, Math.abs(high) * 0.02, 1e-9)
    if (!fromZero) low -= (span - (high - low)) / 2 + span * 0.1
    const scale = (height - 4) / (fromZero ? span : span * 1.2)
    const x = (time: number) => (((time - begin) / (windowSeconds * 1000)) * width).toFixed(1)
    const y = (value: number) => (height - 2 - (value - low) * scale).toFixed(1)
    const line = points.map(([time, value], i) => `${i === 0 ? 'M' : 'L'}${x(time)} ${y(value)}`).join('')
    const area = `${line}L${x(points[points.length - 1][0])} ${height}L${x(points[0][0])} ${height}Z`
    return (
        <svg class="spark" viewBox={`0 0 ${width} ${height}`} preserveAspectRatio="none" role="img" aria-label={label}>
            {fill && <path class="spark-area" d={area} />}
            <path class="spark-line" d={line} />
        </svg>
    )
}
