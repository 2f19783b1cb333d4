import type { SkillProgress } from '@raidhall/client';
import { goToLobby } from '../route';
import { useProfileWords } from './words';

export function Skills({ skills }: { skills: readonly SkillProgress[] }) {
  const words = useProfileWords();
  return (
    <section className="panel skills" aria-labelledby="skills">
      <h2 id="skills">{words.skills}</h2>
      {skills.length === 0 ? (
        <>
          <p className="dim">{words.noSkills}</p>
          <button type="button" onClick={() => goToLobby()}>{words.goRaiding}</button>
        </>
      ) : (
        <ul>
          {skills.map(({ skill, xp, level }) => (
            <li key={skill} className="row"><b className="grow">{words.skillName[skill] ?? skill}</b><span>{words.levelIs(level)}</span><small>{words.skillXp(xp)}</small></li>
          ))}
        </ul>
      )}
    </section>
  );
}
